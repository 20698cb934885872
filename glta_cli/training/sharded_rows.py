"""Parameters of which each process holds some rows: clipped, saved and read back as if they were whole."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from glta_cli.core.streamed_tensors import Kept
from glta_cli.core.world import Team
from glta_cli.training.sharded_losses import shard_bounds


class ShardedRows:
    """The rows of some parameters, or of none, dealt out in the order of the processes.

    Args:
        rows: of each such parameter, by name, how many rows the whole has.
        team: the processes that hold them.
    """

    def __init__(self, rows: Mapping[str, int], team: Team) -> None:
        self.names = frozenset(rows)
        self._rows = dict(rows)
        self._team = team

    def part(self, name: str, whole: Tensor) -> Tensor:
        """This process's rows of a tensor [rows, ...]; what is no such parameter's, or has no rows, is everybody's."""
        if name not in self.names or not whole.dim():
            return whole
        start, stop = shard_bounds(self._rows[name], self._team.rank, self._team.size)
        return whole[start:stop]

    def whole(self, name: str, part: Tensor | Kept) -> Tensor | Kept:
        """The rows of all processes, in main memory; of what is no such parameter's it is the same.

        All processes ask for it together.
        """
        if name not in self.names:
            return part
        tensor = part.read() if isinstance(part, Kept) else part.detach()
        if not tensor.dim():
            return tensor
        # numpy has no bfloat16, and bytes are all that is sent.
        sent = tensor.cpu().contiguous()
        numbers = sent.view(torch.int16) if sent.dtype == torch.bfloat16 else sent
        return torch.from_numpy(np.concatenate(self._team.gathered(numbers.numpy()))).view(sent.dtype)

    def clip(self, parameters: Mapping[str, nn.Parameter], most: float) -> None:
        """Scale all gradients down to a norm of `most` together, where it is more."""
        if not self.names:
            nn.utils.clip_grad_norm_(parameters.values(), most)
            return
        gradients = {name: each.grad for name, each in parameters.items() if each.grad is not None}
        rows, others = (
            float(nn.utils.get_total_norm([each for name, each in gradients.items() if (name in self.names) is own]))
            for own in (True, False)
        )
        [squares] = self._team.summed([rows**2])
        norm = torch.tensor(math.sqrt(squares + others**2))
        nn.utils.clip_grads_with_norm_(parameters.values(), most, norm)
