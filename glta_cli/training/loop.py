"""The one training loop: every stage describes a task, this file takes its steps, saves and resumes them."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NoReturn, Protocol

import torch
from rich.markup import escape
from torch import Tensor, nn

from glta_cli.core.errors import GltaError, InterruptedRunError
from glta_cli.core.interruption import CONTINUE, asked_to_stop
from glta_cli.core.progress import progress_bar
from glta_cli.core.storage import require_room
from glta_cli.core.streamed_tensors import Kept
from glta_cli.core.terminal import say
from glta_cli.core.world import team
from glta_cli.recipe.schema import TrainingSettings
from glta_cli.training.allocator import give_back_freed_memory
from glta_cli.training.allocator import keep_freed_memory as keep_freed_memory
from glta_cli.training.best import IN_MEMORY, best_of, kept
from glta_cli.training.data_parallel import DataParallel
from glta_cli.training.devices import pick_device as pick_device
from glta_cli.training.generators import random_states, set_random_states
from glta_cli.training.optimizers import adamw
from glta_cli.training.progress import TrainingProgress
from glta_cli.training.sharded_rows import ShardedRows
from glta_cli.training.states import newest_state, write_state

# What Adam keeps of each parameter.
ADAM = {"step", "exp_avg", "exp_avg_sq"}


class TrainingTask(Protocol):
    """What a stage wants learnt.

    Attributes:
        module: its parameters that require a gradient are trained, saved and, at the end, set to their best.
        metric: the key of `validate`'s result that selects the epoch; higher is better.
    """

    metric: str

    @property
    def module(self) -> nn.Module: ...

    def batches(self, epoch: int) -> Sequence[Any]:
        """The epoch's batches, in order; a function of the epoch alone, so that a resumed run sees the same."""
        ...

    def loss(self, batch: Any) -> Tensor:
        """The scalar loss of one batch."""
        ...

    def validate(self) -> dict[str, float]:
        """Metrics on validation data."""
        ...


def trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that require a gradient, by name, in the module's order."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def train(
    task: TrainingTask,
    settings: TrainingSettings,
    *,
    state_folder: Path,
    description: str,
    fixed_epochs: int | None = None,
    start: str = "what it started from",
) -> TrainingProgress:
    """Run a task to its last epoch or until validation stops improving, and leave its module at its best.

    With `fixed_epochs` it takes exactly as many, at the learning rates the same epochs of `settings` have, validates
    none, and leaves the module as the last one left it. Where it stopped early, or nothing was gained on `start`, as
    epoch 0 is called, a line on stderr says so.

    A state saved in `state_folder` is continued; the result equals that of an uninterrupted run bit for bit. Processes
    that work together share every batch (`data_parallel.py`); the first one saves, and any number of them continues.

    Raises:
        GltaError: the loss is not finite.
        InterruptedRunError: SIGINT or SIGTERM arrived; the state was saved after the step in progress, or as it was
            before a validation that looks at signals itself.
    """
    keep_freed_memory(sum(parameter.nbytes for parameter in trainable(task.module).values()))
    loop = _Loop(task, settings, state_folder, fixed_epochs)
    loop.resume(description)
    with progress_bar(
        loop.epochs * loop.steps_an_epoch,
        description,
        "steps",
        done=loop.progress.step,
        stops=False,
        kept=lambda: loop.kept(description),
        now="now, from the last saved state",
    ) as bar:
        bar.tell(loop.progress.counted(loop.epochs), loop.figures())
        loop.validate_start()
        while not loop.finished():
            for batch in loop.remaining_batches():
                loop.take_step(batch)
                bar.update(1)
                bar.tell(loop.progress.counted(loop.epochs), loop.figures())
                loop.stop_when_asked()
                loop.save_when_due()
            loop.end_epoch()
            bar.tell(loop.progress.counted(loop.epochs), loop.figures())
            loop.stop_when_asked()
        bar.end_here()
        # A stage of several trainings that is interrupted in a later one finds this one finished.
        loop.save()
    outcome = loop.progress.outcome(loop.epochs, task.metric, start) if loop.validates else None
    if outcome is not None:
        say(f"    {escape(outcome)}")
    loop.restore_best()
    return loop.progress


class _Loop:
    """The state of one training run and the moves it consists of."""

    def __init__(
        self, task: TrainingTask, settings: TrainingSettings, state_folder: Path, fixed_epochs: int | None
    ) -> None:
        self.task = task
        self.settings = settings
        self.validates = fixed_epochs is None
        self.epochs = settings.epochs if fixed_epochs is None else fixed_epochs
        self.state_folder = state_folder
        self.parameters = trainable(task.module)
        if not self.parameters:
            raise GltaError("nothing to train: no parameter requires a gradient")
        self.optimizer = adamw(
            self.parameters.values(),
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            moments=settings.moments,
        )
        self.progress = TrainingProgress()
        self.team = team()
        self.parallel: DataParallel | None = None
        self.rows: ShardedRows = getattr(task, "sharded_rows", None) or ShardedRows({}, self.team)
        self.steps_an_epoch = len(task.batches(0))
        if self.team.first:
            require_room(state_folder, self.bytes_of_state())
        self.best = best_of(self.parameters, state_folder)
        self.last_loss = math.nan  # of the step before, for the progress bar
        self.started = time.monotonic()
        self.saved = time.monotonic()
        self.saved_step: int | None = None

    def bytes_of_state(self) -> int:
        """What a saved state takes: each parameter, its best and the two moments of Adam."""
        return 4 * self.bytes_trained()

    def bytes_trained(self) -> int:
        return sum(parameter.nbytes for parameter in self.parameters.values())

    def finished(self) -> bool:
        return self.progress.epoch >= self.epochs or self.progress.validations_without_gain >= self.settings.patience

    def remaining_batches(self) -> Sequence[Any]:
        return self.task.batches(self.progress.epoch)[self.progress.step_in_epoch :]

    def take_step(self, batch: Any) -> None:
        self.task.module.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * self.learning_rate_factor()
        loss, value = self.parallel.loss(batch) if self.parallel else self.loss(batch)
        if not math.isfinite(value):
            raise GltaError(
                f"the loss is {value} at step {self.progress.step}",
                hint="lower training.learning_rate or set clip_norm",
            )
        with self.team.working():
            loss.backward()
        if self.settings.clip_norm is not None:
            self.rows.clip(self.parameters, self.settings.clip_norm)
        self.optimizer.step()
        # At once: a validation, and the next loss until it is known, have room where the gradients were.
        self.optimizer.zero_grad(set_to_none=True)
        self.progress.step += 1
        self.progress.step_in_epoch += 1
        self.progress.loss_sum += value
        self.last_loss = value

    def loss(self, batch: Any) -> tuple[Tensor, float]:
        """The loss of a batch to take the gradient of, and its value."""
        loss = self.task.loss(batch)
        return loss, float(loss.detach())

    def learning_rate_factor(self) -> float:
        """Linear warm-up, then constant or half a cosine down to zero."""
        step, warmup = self.progress.step, self.settings.warmup_steps
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if self.settings.decay == "none":
            return 1.0
        total = max(1, self.settings.epochs * self.steps_an_epoch - warmup)
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / total))

    def end_epoch(self) -> None:
        progress, ended = self.progress, self.progress.epoch + 1
        due = self.validates and (ended % self.settings.validate_every == 0 or ended == self.epochs)
        # First of all: where it is stopped, the state that is saved is that of the epoch's last step.
        metrics = self.measured() if due else None
        progress.epoch = ended
        record = {"epoch": float(ended), "loss": progress.loss_sum / max(1, progress.step_in_epoch)}
        progress.step_in_epoch, progress.loss_sum = 0, 0.0
        if not self.validates:
            self.keep_current()
        elif metrics is not None:
            self.select(metrics)
            record |= metrics
        progress.history.append(record)

    def validate_start(self) -> None:
        """Epoch 0 takes part in the selection: training that only loses what it started from is not kept."""
        if self.validates and self.progress.step == 0:
            metrics = self.measured()
            self.select(metrics)
            self.progress.history.append({"epoch": 0.0, **metrics})

    def measured(self) -> dict[str, float]:
        """The task's metrics; a validation that is stopped is repeated from the state of before, which is saved."""
        generators = random_states()
        self.task.module.eval()
        try:
            with torch.no_grad(), self.team.working():
                # What selects an epoch is the same everywhere, to the last bit.
                metrics = self.team.broadcast(self.task.validate())
        except InterruptedRunError as stopped:
            set_random_states(generators)
            if self.rows.names:
                raise  # the others are elsewhere in the validation, and give none of their rows: the last state counts
            self.stop(signal.Signals(stopped.signal_number))
        if self.bytes_trained() > IN_MEMORY:
            give_back_freed_memory()
        return metrics

    def select(self, metrics: dict[str, float]) -> None:
        if metrics[self.task.metric] > self.progress.best_metric:
            self.progress.best_metric = metrics[self.task.metric]
            self.progress.validations_without_gain = 0
            self.keep_current()
        else:
            self.progress.validations_without_gain += 1

    def keep_current(self) -> None:
        self.progress.best_epoch = self.progress.epoch
        self.best.keep(self.parameters)

    def figures(self) -> str:
        return self.progress.figures(self.last_loss, self.task.metric)

    def kept(self, description: str) -> str:
        """What a stop at once leaves of this training."""
        if self.saved_step is None:
            return f"{description} has no saved state yet and starts again, the stages before it are kept"
        return f"{description} goes on after step {self.saved_step}, its last saved state"

    def restore_best(self) -> None:
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(self.best.read(name))
        self.task.module.eval()
        self.progress.seconds += time.monotonic() - self.started

    # ----------------------------------------------------------------------------------------- saved states

    def stop_when_asked(self) -> None:
        """Stop where any of the processes was asked to, all of them after the same step."""
        number = self.team.largest(asked_to_stop() or 0)
        if number:
            self.stop(signal.Signals(number))

    def stop(self, received: signal.Signals) -> NoReturn:
        self.save()
        raise InterruptedRunError(
            f"stopped by {received.name} after step {self.progress.step}; state saved",
            signal_number=received,
            hint=CONTINUE,
        )

    def save_when_due(self) -> None:
        due = time.monotonic() - self.saved >= self.settings.checkpoint_seconds
        if self.team.broadcast(due) if self.rows.names else due:
            self.save()

    def save(self) -> None:
        """Save parameters, their best, Adam's moments, the generators and the progress; the first process does."""
        if not self.team.first and not self.rows.names:
            return
        tensors: dict[str, Tensor | Kept] = {**random_states()}
        best = kept(self.best, self.parameters)
        for name, parameter in self.parameters.items():
            tensors[f"current.{name}"] = self.rows.whole(name, parameter.detach())
            tensors[f"best.{name}"] = self.rows.whole(name, best[name])
            for key, value in self.optimizer.state[parameter].items():
                tensors[f"optimizer.{key}.{name}"] = self.rows.whole(name, value)
        if not self.team.first:
            self.saved = time.monotonic()
            return
        seconds = self.progress.seconds + time.monotonic() - self.started
        beside = {"seconds": seconds, "threads": torch.get_num_threads()}
        write_state(self.state_folder, tensors, asdict(self.progress) | beside)
        self.saved, self.saved_step = time.monotonic(), self.progress.step

    def resume(self, description: str) -> None:
        """Continue from the newest saved state that is whole, where there is one, with all processes there are now."""
        # The first one reads before the others: what is damaged is set aside once.
        found = newest_state(self.state_folder, self._read) if self.team.first else None
        step = self.team.broadcast(None if found is None else found.progress.step)
        if step is not None:
            self._continue_from(found or newest_state(self.state_folder, self._read), step, description)
        if self.team.size > 1:
            self.parallel = DataParallel(self.task, self.parameters, self.team)

    def _continue_from(self, loaded: _LoadedState | None, step: int, description: str) -> None:
        if loaded is None or loaded.progress.step != step:
            raise GltaError(
                f"the state saved after step {step} is not seen by every process",
                location=str(self.state_folder),
                hint="all machines need the same data folder: --data-dir, on a disk they share",
            )
        self.progress = loaded.progress
        self.saved_step = loaded.progress.step
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(self.rows.part(name, loaded.tensors[f"current.{name}"]))
        self.best.put({name: self.rows.part(name, loaded.tensors[f"best.{name}"]) for name in self.parameters})
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": loaded.moments, "param_groups": groups})
        set_random_states(loaded.tensors)
        say(f"  {escape(description)}: continuing after step {self.progress.step}")

    def _read(self, tensors: dict[str, Tensor], progress: dict[str, Any]) -> _LoadedState:
        """A saved state as this training needs it; raises `ValueError` where it is one of another training."""
        names = list(self.parameters)
        moments: dict[int, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            if key.startswith("optimizer."):
                _, moment, name = key.split(".", 2)
                moments.setdefault(names.index(name), {})[moment] = self.rows.part(name, tensor)
        if any(each.keys() != ADAM for each in moments.values()):
            raise ValueError("its optimizer is another one")
        for name, parameter in self.parameters.items():
            for kind in ("current", "best"):
                if self.rows.part(name, tensors[f"{kind}.{name}"]).shape != parameter.shape:
                    raise ValueError(f"{kind}.{name} has another shape")
        known = {name: value for name, value in progress.items() if name != "threads"}
        if set(known) != {each.name for each in fields(TrainingProgress)} or "generator.cpu" not in tensors:
            raise ValueError("its progress is that of another version")
        return _LoadedState(TrainingProgress(**known), tensors, moments)


@dataclass(frozen=True)
class _LoadedState:
    """A saved state, whole: its progress, all its tensors, and those of the optimizer by parameter and name."""

    progress: TrainingProgress
    tensors: dict[str, Tensor]
    moments: dict[int, dict[str, Tensor]]
