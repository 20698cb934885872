"""How much a part of a stage computes, and how fast this machine multiplies matrices: together they give its time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

import torch

# Shapes of a small language model's feed-forward layer: [rows, width] @ [width, inner].
_ROWS, _WIDTH, _INNER = 512, 576, 1536
_LARGE: Final = 4096  # square, where a graphics processor is to have enough to do
_SECONDS: Final = 0.15


@dataclass(frozen=True)
class Part:
    """A part of a stage that shows a bar of its own.

    Attributes:
        bar: what the bar says it is doing.
        operations: multiplications and additions of matrix products, and what else it does, as so many that take as
            long.
        beside: those of them that are no step of the bar, such as validations.
    """

    bar: str
    operations: float
    beside: float = 0.0

    @property
    def total(self) -> float:
        return self.operations + self.beside


def matrix_rate(device: torch.device) -> float:
    """Multiplications and additions a second of float32 matrix products, with the threads torch has: > 0.

    Measured for a sixth of a second, so that what other processes take of the machine shows.
    """
    rows, width, inner = (_ROWS, _WIDTH, _INNER) if device.type == "cpu" else (_LARGE, _LARGE, _LARGE)
    left, right = torch.ones(rows, width, device=device), torch.ones(width, inner, device=device)
    float((left @ right)[0, 0])  # the library makes itself ready
    done, begun = 0, time.perf_counter()
    while (passed := time.perf_counter() - begun) < _SECONDS or not done:
        # Asked for one number, a device is waited for.
        float((left @ right)[0, 0])
        done += 1
    return 2.0 * rows * width * inner * done / max(passed, 1e-9)
