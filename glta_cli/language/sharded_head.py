"""A linear head whose rows, one an item, are dealt out to the processes that train it."""

from __future__ import annotations

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from glta_cli.core.world import Team
from glta_cli.language.gllm import LinearHead
from glta_cli.training.losses import Positives
from glta_cli.training.sharded_losses import shard_bounds, sharded_softmax_loss
from glta_cli.training.sharded_rows import ShardedRows

PARAMETERS = ("weight", "bias")


class ShardedHead:
    """Leaves a head the rows of this process's items, in place, until `join`.

    The rows' gradients and the optimizer's moments of them are divided by the number of processes, W: of I items and
    states of h numbers 16 I h / W bytes in place of 16 I h.

    Args:
        head: whole, and the same on all processes.
        team: they, all of torch.distributed's default group.
        prefix: of the head's parameters in the module that is trained.
    """

    def __init__(self, head: LinearHead, team: Team, prefix: str) -> None:
        self.head = head
        self.team = team
        self.item_count = len(head.weight)
        self.start, self.stop = shard_bounds(self.item_count, team.rank, team.size)
        self.rows = ShardedRows({f"{prefix}{name}": self.item_count for name in PARAMETERS}, team)
        for name in PARAMETERS:
            whole: nn.Parameter = getattr(head, name)
            part = nn.Parameter(whole.detach()[self.start : self.stop].clone())
            # Gradients of other parameters are added up over the processes, by a loss that many times as large.
            part.register_hook(lambda gradient: gradient / team.size)
            setattr(head, name, part)

    def loss(
        self,
        queries: Tensor,
        positives: Positives,
        *,
        adjustment: Tensor | None,
        excluded: Positives | None,
        among: Tensor | None,
    ) -> Tensor:
        """The cross-entropy of the queries of all processes, [B_r, h] of this one; gradients are to be averaged.

        Args:
            adjustment: added to the logits of all items, [I].
        """
        bias: Tensor = self.head.bias
        if adjustment is not None:
            bias = bias + adjustment[self.start : self.stop]
        group = dist.group.WORLD
        assert group is not None
        loss = sharded_softmax_loss(
            queries,
            self.head.weight,
            positives,
            start=self.start,
            group=group,
            bias=bias,
            excluded=excluded,
            among=among,
        )
        # The same number everywhere, whose gradients are added up where others are averaged.
        return loss.detach() + self.team.size * (loss - loss.detach())

    def scoring_arrays(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Item matrix [I, h] and bias [I] of the whole head, in main memory."""
        parts = (getattr(self.head, name).detach().float().cpu().contiguous().numpy() for name in PARAMETERS)
        matrix, bias = (np.concatenate(self.team.gathered(part)) for part in parts)
        return matrix, bias

    def join(self) -> None:
        """Give the head all its rows again."""
        device = self.head.weight.device
        for name, values in zip(PARAMETERS, self.scoring_arrays(), strict=True):
            setattr(self.head, name, nn.Parameter(torch.from_numpy(values).to(device)))
