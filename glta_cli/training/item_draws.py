"""Items drawn for a sampled softmax, each as often as it was met."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class ItemDraws:
    """Draws from the distribution of the training interactions, with replacement: q[i] ∝ max(n[i], 1).

    What is met often is in most sums over the catalogue the largest part, so that as many draws say more of such a sum
    than uniform ones. Items nobody met may be drawn too, or the sum would be that of the others.

    A draw takes steps that grow with the logarithm of the catalogue.
    """

    def __init__(self, counts: NDArray[np.int64]) -> None:
        """The interactions n of each item, [I]."""
        weights = torch.from_numpy(np.maximum(counts, 1)).double()
        self.cumulative = weights.cumsum(0) / weights.sum()  # [I]
        self.log_q = (weights / weights.sum()).log()  # [I]

    def draw(self, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """So many draws, by torch's generator of the CPU.

        Returns:
            The items that were drawn, ascending, each once, int64 [S]; and log(m / (count q)), m the times each was
            drawn, float32 [S]: with exp z times that, the sum over the draws is the catalogue's in expectation.
        """
        points = torch.rand(count, dtype=torch.float64)
        places = torch.searchsorted(self.cumulative, points, right=True).clamp_max(len(self.log_q) - 1)
        items, times = torch.unique(places, return_counts=True)
        logs = times.double().log() - math.log(count) - self.log_q[items]
        return items.to(device), logs.float().to(device)
