"""Items drawn for a sampled softmax, each as often as it was met."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Drawn:
    """Items a sum over the catalogue is estimated from.

    Attributes:
        items: distinct, int64 [S].
        correction: what is added to their logits, so that the sum of exponentials is the catalogue's in expectation:
            one number, or float32 [S].
    """

    items: Tensor
    correction: Tensor | float


def draw_items(count: int, catalogue: int, draws: ItemDraws | None, device: torch.device) -> Drawn:
    """So many of the items of a catalogue: by these draws or, without any, uniformly and none of them twice."""
    if draws is not None:
        return draws.draw(count, device)
    items = torch.randperm(catalogue, device=device)[:count]
    return Drawn(items, math.log(catalogue / len(items)))


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

    def draw(self, count: int, device: torch.device) -> Drawn:
        """So many draws, by torch's generator of the CPU.

        Returns:
            The items that were drawn, ascending; corrected by log(m / (count q)), m the times each was drawn.
        """
        points = torch.rand(count, dtype=torch.float64)
        places = torch.searchsorted(self.cumulative, points, right=True).clamp_max(len(self.log_q) - 1)
        items, times = torch.unique(places, return_counts=True)
        logs = times.double().log() - math.log(count) - self.log_q[items]
        return Drawn(items.to(device), logs.float().to(device))
