"""The one training loop: what it promises to every stage that hands it a task."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from glta_cli.core.errors import GltaError, InterruptedRunError
from glta_cli.core.interruption import stop_if_asked
from glta_cli.graph.pretraining import pretrain
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.registry import installed
from glta_cli.recipe.schema import GraphSettings, Recipe, TrainingSettings
from glta_cli.stages.pipeline import Pipeline
from glta_cli.training.loop import TrainingProgress, train
from glta_cli.training.states import STATE
from glta_cli.workspace.artefact import Artefact
from glta_cli.workspace.workspace import Workspace

SIGNALS = [signal.SIGINT, signal.SIGTERM]


class Regression:
    """A line through noisy points, with dropout, so that the random generator matters."""

    metric = "quality"

    def __init__(self, before_loss: Callable[[int], object] = lambda step: None, batches: int = 5) -> None:
        torch.manual_seed(3)
        self.module: nn.Module = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 1))
        self.before_loss = before_loss
        self.count = batches
        self.steps = 0

    def batches(self, epoch: int) -> Sequence[Tensor]:
        generator = torch.Generator().manual_seed(epoch)
        return [torch.randn(6, 4, generator=generator) for _ in range(self.count)]

    def loss(self, batch: Tensor) -> Tensor:
        self.before_loss(self.steps)
        self.steps += 1
        return (self.module(batch)[:, 0] - batch.sum(1)).square().mean()

    def validate(self) -> dict[str, float]:
        with torch.no_grad():
            points = torch.linspace(-1, 1, 20).reshape(5, 4)
            return {"quality": -float((self.module(points)[:, 0] - points.sum(1)).square().mean())}


class Unvalidated(Regression):
    """It must not be validated."""

    def validate(self) -> dict[str, float]:
        raise AssertionError("validated")


class Scripted(Regression):
    """Its validations return what they are told to."""

    def __init__(self, qualities: Sequence[float]) -> None:
        super().__init__()
        self.qualities = list(qualities)
        self.weights: list[Tensor] = []

    def validate(self) -> dict[str, float]:
        self.weights.append(self.module[0].weight.detach().clone())
        return {"quality": self.qualities[len(self.weights) - 1]}


def settings(**values: Any) -> TrainingSettings:
    return TrainingSettings(**{"epochs": 4, "warmup_steps": 3, "decay": "cosine", "clip_norm": 1.0, **values})


def parameters(module: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}


def told(progress: TrainingProgress) -> dict[str, Any]:
    return {name: value for name, value in vars(progress).items() if name != "seconds"}


def assert_same(left: dict[str, Tensor], right: dict[str, Tensor]) -> None:
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name], right[name]), name


def send(number: signal.Signals, at: int) -> Callable[[int], None]:
    """Raise the signal in this very process during the given step."""
    return lambda step: os.kill(os.getpid(), number) if step == at else None


# ----------------------------------------------------------------------------------- interrupted and resumed


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("at", [0, 2, 4, 7, 12, 19])
def test_interrupted_and_resumed_equals_uninterrupted_bit_for_bit(
    tmp_path: Path, number: signal.Signals, at: int
) -> None:
    whole = Regression()
    uninterrupted = train(whole, settings(), state_folder=tmp_path / "whole", description="whole")

    killed = Regression(send(number, at))
    with pytest.raises(InterruptedRunError) as caught:
        train(killed, settings(), state_folder=tmp_path, description="killed")
    assert caught.value.signal_number == number
    assert killed.steps == at + 1
    torch.rand(17)  # whatever happens between the two processes

    resumed = Regression()
    progress = train(resumed, settings(), state_folder=tmp_path, description="resumed")
    assert killed.steps + resumed.steps == whole.steps
    assert_same(parameters(resumed.module), parameters(whole.module))
    assert told(progress) == told(uninterrupted)


def test_any_number_of_interruptions_changes_nothing(tmp_path: Path) -> None:
    whole = Regression()
    uninterrupted = train(whole, settings(), state_folder=tmp_path / "whole", description="whole")
    resumed, interruptions = Regression(), 0
    while True:
        resumed = Regression(send(signal.SIGTERM, at=2))
        try:
            progress = train(resumed, settings(), state_folder=tmp_path, description="again")
        except InterruptedRunError:
            interruptions += 1
        else:
            break
    assert interruptions == 6
    assert_same(parameters(resumed.module), parameters(whole.module))
    assert told(progress) == told(uninterrupted)


def test_a_process_killed_between_two_saved_states_goes_back_to_the_last(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def die(step: int) -> None:
        if step == 13:
            raise Killed

    whole = Regression()
    train(whole, settings(), state_folder=tmp_path / "none", description="whole")
    tmp_path.joinpath("states").mkdir()
    with pytest.raises(Killed):
        train(Regression(die), settings(checkpoint_seconds=0), state_folder=tmp_path / "states", description="killed")
    resumed = Regression()
    train(resumed, settings(), state_folder=tmp_path / "states", description="resumed")
    assert resumed.steps == 20 - 13
    assert_same(parameters(resumed.module), parameters(whole.module))


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_during_the_last_validation_is_not_lost(tmp_path: Path, number: signal.Signals) -> None:
    class Interrupted(Regression):
        def validate(self) -> dict[str, float]:
            if self.steps == 20:
                os.kill(os.getpid(), number)
            return super().validate()

    whole = Regression()
    uninterrupted = train(whole, settings(), state_folder=tmp_path / "whole", description="whole")
    with pytest.raises(InterruptedRunError):
        train(Interrupted(), settings(), state_folder=tmp_path, description="killed")
    resumed = Regression()
    progress = train(resumed, settings(), state_folder=tmp_path, description="resumed")
    assert resumed.steps == 0
    assert_same(parameters(resumed.module), parameters(whole.module))
    assert told(progress) == told(uninterrupted)


class ValidatedInBatches(Regression):
    """Its validation is long and draws random numbers; a signal comes in the given one."""

    def __init__(self, interrupted: int | None = None) -> None:
        super().__init__()
        self.interrupted = interrupted
        self.validations = 0
        self.batches_validated = 0

    def validate(self) -> dict[str, float]:
        self.validations += 1
        for batch in range(5):
            if batch == 1 and self.validations - 1 == self.interrupted:
                os.kill(os.getpid(), signal.SIGINT)
            torch.rand(3)
            self.batches_validated += 1
            stop_if_asked()
        return super().validate()


@pytest.mark.parametrize("validation", [0, 1, 4])
def test_a_validation_stops_between_its_batches_and_is_repeated_bit_for_bit(tmp_path: Path, validation: int) -> None:
    whole = ValidatedInBatches()
    uninterrupted = train(whole, settings(), state_folder=tmp_path / "whole", description="whole")
    killed = ValidatedInBatches(validation)
    with pytest.raises(InterruptedRunError, match=f"after step {5 * validation}; state saved"):
        train(killed, settings(), state_folder=tmp_path, description="killed")
    assert killed.batches_validated == 5 * validation + 2
    torch.rand(17)
    resumed = ValidatedInBatches()
    progress = train(resumed, settings(), state_folder=tmp_path, description="resumed")
    assert killed.steps + resumed.steps == whole.steps
    assert_same(parameters(resumed.module), parameters(whole.module))
    assert told(progress) == told(uninterrupted)


def test_an_early_stop_and_a_training_for_nothing_are_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    train(Scripted([3, 4, 2, 1]), settings(patience=2), state_folder=tmp_path / "a", description="early")
    shown = capsys.readouterr().err
    assert "    stopped early: no better quality since epoch 1 of 4\n" in shown
    assert "improved nothing" not in shown
    # Nothing is left to do, so the bar is whole.
    assert "early 3/4 epochs" in shown.rpartition("\r")[2]
    assert "100%" in shown.rpartition("\r")[2]
    train(
        Scripted([3, 1, 2]), settings(patience=2), state_folder=tmp_path / "b", description="b", start="the warm start"
    )
    assert "    stopped early: the warm start was best, training improved nothing\n" in capsys.readouterr().err
    train(Scripted([1, 2, 3, 4, 5]), settings(), state_folder=tmp_path / "c", description="c")
    shown = capsys.readouterr().err
    assert "stopped early" not in shown
    assert "improved nothing" not in shown


def test_a_training_that_is_over_is_not_repeated(tmp_path: Path) -> None:
    first, again = Regression(), Regression()
    progress = train(first, settings(), state_folder=tmp_path / "states", description="first")
    repeated = train(again, settings(), state_folder=tmp_path / "states", description="again")
    assert again.steps == 0
    assert_same(parameters(again.module), parameters(first.module))
    assert told(repeated) == told(progress)


def test_an_interrupted_second_encoder_does_not_repeat_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_recipe: Callable[..., Recipe], capsys: pytest.CaptureFixture
) -> None:
    def pretrain_graph(root: str) -> Artefact:
        return Pipeline("toy", tiny_recipe(), Workspace(tmp_path / root), device="cpu").ensure("pretrain-graph")

    whole = pretrain_graph("whole")
    steps = whole.details["full"]["steps"]
    with monkeypatch.context() as patch:
        interrupt_losses(patch, "glta_cli.graph.pretraining", steps + 2)
        with pytest.raises(InterruptedRunError):
            pretrain_graph("killed")
    capsys.readouterr()
    resumed = pretrain_graph("killed")
    assert f"continuing after step {steps}" in capsys.readouterr().err
    assert resumed.manifest["outputs"] == whole.manifest["outputs"]


STAGE_1_REFITTED = ["graph.refit=true", "finetune.enabled=false", "graph.alignment_holdout=0"]


def test_an_interrupted_refit_goes_on_and_does_not_repeat_the_selection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_recipe: Callable[..., Recipe], capsys: pytest.CaptureFixture
) -> None:
    def pretrain_graph(root: str) -> Artefact:
        recipe = tiny_recipe(*STAGE_1_REFITTED)
        return Pipeline("toy", recipe, Workspace(tmp_path / root), device="cpu").ensure("pretrain-graph")

    whole = pretrain_graph("whole")
    steps = whole.details["full"]["steps"]
    assert whole.details["refit"]["steps"] > 3
    with monkeypatch.context() as patch:
        interrupt_losses(patch, "glta_cli.graph.pretraining", steps + 2)
        with pytest.raises(InterruptedRunError):
            pretrain_graph("killed")
    capsys.readouterr()
    resumed = pretrain_graph("killed")
    told = capsys.readouterr().err
    assert f"on the whole graph: continuing after step {steps}" in told
    assert "on training and validation: continuing after step 3" in told
    assert resumed.manifest["outputs"] == whole.manifest["outputs"]
    assert resumed.details["refit"]["history"] == whole.details["refit"]["history"]


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("at", [0, 4, 7, 9])
def test_a_training_of_fixed_epochs_resumes_bit_for_bit(tmp_path: Path, number: signal.Signals, at: int) -> None:
    whole = Unvalidated()
    uninterrupted = train(whole, settings(), state_folder=tmp_path / "whole", description="whole", fixed_epochs=2)
    killed = Unvalidated(send(number, at))
    with pytest.raises(InterruptedRunError):
        train(killed, settings(), state_folder=tmp_path, description="killed", fixed_epochs=2)
    torch.rand(17)
    resumed = Unvalidated()
    progress = train(resumed, settings(), state_folder=tmp_path, description="resumed", fixed_epochs=2)
    assert killed.steps + resumed.steps == whole.steps == 10
    assert_same(parameters(resumed.module), parameters(whole.module))
    assert told(progress) == told(uninterrupted)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_handlers_of_before_are_back_afterwards(tmp_path: Path, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(InterruptedRunError):
        train(Regression(send(number, 1)), settings(), state_folder=tmp_path, description="killed")
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(("loss", "at"), [("softmax", 0), ("softmax", 7), ("bpr", 5), ("sampled", 6)])
def test_an_interrupted_pretraining_ends_in_the_same_embeddings(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    random_interactions: Callable[..., Interactions],
    loss: str,
    at: int,
) -> None:
    graph = GraphSettings(
        loss="bpr" if loss == "bpr" else "softmax",
        softmax_items=12 if loss == "sampled" else None,
        training=TrainingSettings(epochs=3, batch_size=64 if loss == "bpr" else 10),
    )
    component = installed().find("encoder", "lightgcn")
    train_set, validation = random_interactions(40, 30), random_interactions(40, 30, share=0.05, seed=1)

    def run(folder: Path) -> Any:
        folder.mkdir(exist_ok=True)
        return pretrain(
            lambda interaction_graph: component.target()(interaction_graph, component.config()()),
            graph,
            train_set,
            train_set,
            validation,
            seed=5,
            device=torch.device("cpu"),
            state_folder=folder,
            description="pretrain",
        )

    whole = run(tmp_path / "whole")
    with monkeypatch.context() as patch:
        interrupt_losses(patch, "glta_cli.graph.pretraining", at)
        with pytest.raises(InterruptedRunError):
            run(tmp_path / "killed")
    resumed = run(tmp_path / "killed")
    np.testing.assert_array_equal(resumed.embeddings.users, whole.embeddings.users)
    np.testing.assert_array_equal(resumed.embeddings.items, whole.embeddings.items)
    assert told(resumed.progress) == told(whole.progress)


def interrupt_losses(patch: pytest.MonkeyPatch, module: str, at: int) -> None:
    """SIGINT during the given step of whatever task of `module` is trained."""
    steps = iter(range(10_000))
    for name in ("catalogue_softmax_loss", "bpr_loss"):
        if not hasattr(__import__(module, fromlist=[name]), name):
            continue
        loss = getattr(__import__(module, fromlist=[name]), name)

        def interrupted(*arguments: Any, loss: Any = loss, **named: Any) -> Tensor:
            if next(steps) == at:
                os.kill(os.getpid(), signal.SIGINT)
            return loss(*arguments, **named)

        patch.setattr(f"{module}.{name}", interrupted)


LORA = ["backbone.lora.rank=2", "backbone.lora.dropout=0.4"]


@pytest.mark.parametrize(
    ("stage", "module", "overrides", "at"),
    [
        ("finetune", "glta_cli.language.finetuning", LORA, 5),
        ("finetune", "glta_cli.language.finetuning", ["finetune.loss=positions", "finetune.softmax_items=10"], 2),
        ("align", "glta_cli.language.alignment", [], 1),
    ],
)
def test_an_interrupted_stage_publishes_the_same_bytes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tiny_recipe: Callable[..., Any],
    stage: str,
    module: str,
    overrides: list[str],
    at: int,
) -> None:
    def pipeline(root: str) -> Pipeline:
        return Pipeline("toy", tiny_recipe(*overrides), Workspace(tmp_path / root), device="cpu")

    whole = pipeline("whole").ensure(stage)
    with monkeypatch.context() as patch:
        interrupt_losses(patch, module, at)
        with pytest.raises(InterruptedRunError):
            pipeline("killed").ensure(stage)
    states = list((tmp_path / "killed" / "states").rglob("*.safetensors"))
    assert len(states) == 1
    resumed = pipeline("killed").ensure(stage)
    assert resumed.manifest["outputs"] == whole.manifest["outputs"]
    assert not list((tmp_path / "killed" / "states").rglob("*.safetensors"))


# ------------------------------------------------------------------------------------------------ selection


def test_training_stops_early_and_leaves_the_best_weights(tmp_path: Path) -> None:
    task = Scripted([0.0, 0.1, 0.5, 0.2, 0.5, 0.3, 0.9])
    progress = train(task, settings(epochs=6, patience=3), state_folder=tmp_path, description="stop")
    assert len(task.weights) == 6
    assert (progress.best_epoch, progress.best_metric) == (2, 0.5)
    assert torch.equal(task.module[0].weight, task.weights[2])
    assert not torch.equal(task.module[0].weight, task.weights[5])


def test_training_that_only_loses_leaves_what_it_started_from(tmp_path: Path) -> None:
    task = Scripted([0.5, 0.4, 0.3, 0.5, 0.2])
    start = parameters(task.module)
    progress = train(task, settings(), state_folder=tmp_path, description="lose")
    assert progress.best_epoch == 0
    assert_same(parameters(task.module), start)


def test_fixed_epochs_end_where_as_many_epochs_of_the_whole_training_stand(tmp_path: Path) -> None:
    """At the same learning rates: the warm-up and the cosine are those of all four epochs."""
    reference = Scripted([0.0, 0.1, 0.2, 0.1, 0.1])
    train(reference, settings(), state_folder=tmp_path / "reference", description="whole")
    task = Unvalidated()
    progress = train(task, settings(patience=1), state_folder=tmp_path, description="fixed", fixed_epochs=3)
    # Validations of the reference: before the training, and after each epoch.
    assert torch.equal(task.module[0].weight, reference.weights[3])
    assert (progress.epoch, progress.best_epoch, progress.step) == (3, 3, 15)
    assert [list(record) for record in progress.history] == [["epoch", "loss"]] * 3


def test_no_fixed_epoch_leaves_the_module_as_it_was(tmp_path: Path) -> None:
    task = Unvalidated()
    before = parameters(task.module)
    progress = train(task, settings(), state_folder=tmp_path, description="none", fixed_epochs=0)
    assert_same(parameters(task.module), before)
    assert (progress.step, progress.history) == (0, [])


def test_a_gain_starts_the_count_of_patience_anew(tmp_path: Path) -> None:
    task = Scripted([0.0, 0.1, 0.0, 0.2, 0.1, 0.3, 0.2, 0.1, 0.9])
    progress = train(task, settings(epochs=8, patience=2), state_folder=tmp_path, description="stop")
    assert (len(task.weights), progress.best_epoch) == (8, 5)


def test_the_last_epoch_is_validated_whatever_the_interval(tmp_path: Path) -> None:
    task = Scripted([0.0, 0.1, 0.2])
    progress = train(task, settings(epochs=5, validate_every=3), state_folder=tmp_path, description="interval")
    assert ["quality" in record for record in progress.history] == [True, False, False, True, False, True]
    assert progress.best_epoch == 5


def test_the_module_is_left_in_evaluation_mode_and_frozen_parameters_untouched(tmp_path: Path) -> None:
    task = Regression()
    task.module[0].requires_grad_(False)
    before = parameters(task.module)
    train(task, settings(), state_folder=tmp_path, description="frozen")
    after = parameters(task.module)
    assert not task.module.training
    assert torch.equal(before["0.weight"], after["0.weight"])
    assert not torch.equal(before["2.weight"], after["2.weight"])


def test_nothing_to_train_is_an_error(tmp_path: Path) -> None:
    task = Regression()
    task.module.requires_grad_(False)
    with pytest.raises(GltaError, match="nothing to train"):
        train(task, settings(), state_folder=tmp_path, description="frozen")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_an_error_and_no_step(tmp_path: Path, value: float) -> None:
    class Diverging(Regression):
        def loss(self, batch: Tensor) -> Tensor:
            self.before = parameters(self.module)
            return super().loss(batch) * (value if self.steps == 3 else 1)

    task = Diverging()
    with pytest.raises(GltaError, match=f"the loss is {value} at step 2") as caught:
        train(task, settings(), state_folder=tmp_path, description="diverge")
    assert caught.value.hint is not None
    assert "learning_rate" in caught.value.hint
    assert_same(parameters(task.module), task.before)


# -------------------------------------------------------------------------------------------- learning rate


class Slope:
    """A loss of slope one, so that each step of Adam moves the parameter by the learning rate itself."""

    metric = "quality"

    def __init__(self) -> None:
        self.module: nn.Module = nn.Linear(1, 1, bias=False).double()
        self.values: list[float] = []

    def batches(self, epoch: int) -> Sequence[int]:
        return range(5)

    def loss(self, batch: int) -> Tensor:
        self.values.append(self.module.weight.item())
        return self.module.weight.sum()

    def validate(self) -> dict[str, float]:
        return {"quality": float(len(self.values))}


def learning_rates(tmp_path: Path, **values: Any) -> list[float]:
    task = Slope()
    train(task, TrainingSettings(epochs=4, **values), state_folder=tmp_path, description="slope")
    return list(-np.diff([*task.values, task.module.weight.item()]))


def test_the_learning_rate_warms_up_and_then_follows_half_a_cosine(tmp_path: Path) -> None:
    rates = learning_rates(tmp_path, learning_rate=0.5, warmup_steps=4, decay="cosine")
    cosine = [0.25 * (1 + math.cos(math.pi * step / 16)) for step in range(16)]
    np.testing.assert_allclose(rates, [0.1, 0.2, 0.3, 0.4, *cosine], rtol=1e-5)


def test_without_a_decay_the_learning_rate_stays(tmp_path: Path) -> None:
    rates = learning_rates(tmp_path, learning_rate=0.5, warmup_steps=1)
    np.testing.assert_allclose(rates, [0.25] + [0.5] * 19, rtol=1e-5)


# ------------------------------------------------------------------------------------------ the saved state


def test_a_saved_state_is_one_safetensors_file(tmp_path: Path) -> None:
    task = Regression(send(signal.SIGINT, 7))
    with pytest.raises(InterruptedRunError):
        train(task, settings(), state_folder=tmp_path, description="killed")
    assert [path.name for path in tmp_path.iterdir()] == [STATE]
    with safe_open(tmp_path / STATE, framework="pt") as state:
        progress = json.loads(state.metadata()["progress"])
        names = set(state.keys())
        current = state.get_tensor("current.2.weight")
    assert (progress["step"], progress["epoch"], progress["step_in_epoch"]) == (8, 1, 3)
    assert torch.equal(current, task.module[2].weight)
    assert {"best.0.bias", "optimizer.exp_avg.0.weight", "optimizer.exp_avg_sq.2.bias", "generator.cpu"} <= names


def test_what_a_launcher_says_of_gradients_changes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """accelerate launch has settings for scripts that ask it for their loop; this loop has its own."""
    plain = Regression()
    train(plain, settings(epochs=1), state_folder=tmp_path / "plain", description="toy", fixed_epochs=1)
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    launched = Regression()
    train(launched, settings(epochs=1), state_folder=tmp_path / "launched", description="toy", fixed_epochs=1)
    assert_same(parameters(plain.module), parameters(launched.module))
