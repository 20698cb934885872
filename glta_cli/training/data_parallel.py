"""The gradient of a batch by several processes: each takes its share of the batch, and their gradients are added up.

What it differs from one process by is the order of additions, as long as the loss is a mean over things the batch
consists of. A loss that compares the things of a batch with each other, as the contrasts of some encoders do, compares
those of a share: each is then told from fewer others.
"""

from __future__ import annotations

import warnings
from typing import Any, Protocol, runtime_checkable

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from glta_cli.core.world import Team
from glta_cli.training.generators import random_states, set_random_states
from glta_cli.training.sharded_rows import ShardedRows


@runtime_checkable
class SharedTask(Protocol):
    """A task whose batches can be dealt out to processes."""

    def share(self, batch: Any, rank: int, size: int) -> tuple[Any, float]:
        """One process's part of a batch, and what its loss counts for in that of the whole batch.

        Of a loss that is a mean over positives that is the part's share of them. Where there is none left, as of a
        batch smaller than `size`, the part is a thing that another process has too, and counts for 0: weights that are
        shared among processes want all of them to run the model.

        Where a task has an attribute `sharded_rows`, each process has rows of its own of some parameters.
        """
        ...


def dealt(count: int, rank: int, size: int) -> tuple[slice, bool]:
    """Which of so many things in a row are a process's, every `size`-th, and whether they are its own to count."""
    return (slice(rank, None, size), True) if rank < count else (slice(0, 1), False)


class DataParallel:
    """Takes gradients of a task's batches together with the other processes, all at the same batch.

    Args:
        task: its module stands on one device, or on the processor; the parameters it trains become the first process's.
        parameters: those that are trained.

    Source: Li et al., PyTorch Distributed, VLDB 2020 (gradients are reduced in buckets while others are computed).
    """

    def __init__(self, task: Any, parameters: dict[str, nn.Parameter], team: Team) -> None:
        self.task = task
        self.team = team
        losses = _Losses(task)
        with team.working(), warnings.catch_warnings():
            # The new name of `broadcast_buffers` means another thing, and 2.8 has only the old one.
            warnings.simplefilter("ignore", FutureWarning)
            rows: ShardedRows | None = getattr(task, "sharded_rows", None)
            own = frozenset() if rows is None else rows.names
            for name, parameter in parameters.items():
                if name not in own:
                    dist.broadcast(parameter.detach(), src=0)
            DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(
                losses, [f"trained.{name}" for name in own]
            )
            # Frozen weights and buffers are everywhere what the recipe says: they need not be sent about. What a batch
            # does not touch, such as the projector of tokens it has none of, has no gradient to wait for.
            self.module: nn.Module = losses
            if not set(parameters) <= own:  # else there is no gradient to be reduced
                self.module = DistributedDataParallel(
                    losses,
                    broadcast_buffers=False,
                    init_sync=False,
                    find_unused_parameters=True,
                    gradient_as_bucket_view=True,
                )

    def share(self, batch: Any) -> tuple[Any, float]:
        if isinstance(self.task, SharedTask):
            return self.task.share(batch, self.team.rank, self.team.size)
        return batch, 1 / self.team.size  # a task that cannot be shared is computed by all

    def loss(self, batch: Any) -> tuple[Tensor, float]:
        """The loss to take the gradient of here, and that of the whole batch."""
        part, counts_for = self.share(batch)
        before = random_states()
        with self.team.working():
            own = self.module(part)
            whole, drew = self.team.summed([counts_for * float(own.detach()), _differ(before, random_states())])
        if drew:
            # Torch's generators go on everywhere where the first process's do, as they do with one process.
            set_random_states(self.team.broadcast(random_states()))
        # Gradients are averaged over the processes, and are to be added up.
        return own * (counts_for * self.team.size), whole


def _differ(before: dict[str, Tensor], now: dict[str, Tensor]) -> bool:
    return any(not torch.equal(before[name], state) for name, state in now.items())


class _Losses(nn.Module):
    """A task's loss as a module's forward pass, which is what DistributedDataParallel wraps."""

    def __init__(self, task: Any) -> None:
        super().__init__()
        self.trained = task.module
        self.task = task

    def forward(self, part: Any) -> Tensor:
        loss: Tensor = self.task.loss(part)
        return loss
