"""How much a part of a stage computes, and how fast this machine multiplies matrices: together they give its time."""

from __future__ import annotations

import math
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
        longest_first: whether its first steps take longest, as texts in the order of their lengths do.
        whole: of all that, what each of several processes does by itself, as the propagation over a whole graph.
        batches: that several processes take whole and in turn, as many as the operations go in; 0 where each batch is
            divided among them.
        batches_beside: the same of what is beside.
    """

    bar: str
    operations: float
    beside: float = 0.0
    longest_first: bool = False
    whole: float = 0.0
    batches: int = 0
    batches_beside: int = 0

    @property
    def total(self) -> float:
        return self.operations + self.beside

    def of_one(self, processes: int) -> float:
        """Operations of each of so many processes that share it, of the one with most to do."""
        steps, beside = _share(self.batches, processes), _share(self.batches_beside, processes)
        # What is done whole is counted among the rest, as if that were divided.
        return self.operations * steps + self.beside * beside + self.whole * (1 - 1 / processes)


def _share(batches: int, processes: int) -> float:
    """What a process gets of so many batches; of one that is divided, an equal part."""
    return math.ceil(batches / processes) / batches if batches else 1 / processes


@dataclass(frozen=True)
class MatrixRate:
    """How fast a device multiplies matrices of float32.

    Attributes:
        operations: multiplications and additions a second of one processor's time, which others do not change; of a
            GPU, a second on the clock.
        processors: how many processors' time a second on the clock brings now, beside what others do: of two threads
            on an idle machine 2, beside four busy processes on two processors a third of that; of a GPU 1.
    """

    operations: float
    processors: float


def matrix_rate(device: torch.device) -> MatrixRate:
    """Measured for a sixth of a second, with the threads torch has."""
    rows, width, inner = (_ROWS, _WIDTH, _INNER) if device.type == "cpu" else (_LARGE, _LARGE, _LARGE)
    left, right = torch.ones(rows, width, device=device), torch.ones(width, inner, device=device)
    float((left @ right)[0, 0])  # the library makes itself ready
    done, begun, worked = 0, time.perf_counter(), time.process_time()
    while (passed := time.perf_counter() - begun) < _SECONDS or not done:
        # Asked for one number, a device is waited for.
        float((left @ right)[0, 0])
        done += 1
    taken = max(time.process_time() - worked, 1e-6) if device.type == "cpu" else passed
    return MatrixRate(2.0 * rows * width * inner * done / taken, taken / passed)
