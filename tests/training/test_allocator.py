"""Freed memory is kept for the next step where there is enough of it, and given back where it is scarce."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from glta_cli.core.process_memory import resident_memory
from glta_cli.recipe.schema import TrainingSettings
from glta_cli.training import loop
from glta_cli.training.allocator import (
    M_MMAP_THRESHOLD,
    M_TRIM_THRESHOLD,
    give_back_freed_memory,
    keep_freed_memory,
)


@pytest.mark.skipif(sys.platform != "linux", reason="the allocator's thresholds are glibc's")
@pytest.mark.parametrize(("free", "largest"), [(1 << 40, 1 << 30), (1, 24 << 20), (None, 1 << 30)])
def test_freed_memory_is_kept_only_where_there_is_enough(
    monkeypatch: pytest.MonkeyPatch, free: int | None, largest: int
) -> None:
    told: dict[int, int] = {}

    class Library:
        @staticmethod
        def mallopt(name: int, value: int) -> int:
            told[name] = value
            return 1

    monkeypatch.setattr("glta_cli.training.allocator.ctypes.CDLL", lambda _: Library)
    monkeypatch.setattr("glta_cli.training.allocator.available_memory", lambda: free)
    keep_freed_memory(1 << 30)
    assert told[M_MMAP_THRESHOLD] == largest
    assert told[M_TRIM_THRESHOLD] <= largest * 3


@pytest.mark.skipif(sys.platform != "linux", reason="the allocator is glibc's")
def test_freed_memory_is_given_back_from_among_what_is_held() -> None:
    pieces = [torch.ones(1 << 14) for _ in range(2048)]  # 64 KiB each
    held = pieces[::16]
    del pieces
    before = resident_memory()
    give_back_freed_memory()
    assert before - resident_memory() > 64 << 20
    assert all(bool(piece.all()) for piece in held)


class Line:
    """A training of two weights, an epoch of one batch."""

    metric = "quality"

    def __init__(self) -> None:
        self.module: nn.Module = nn.Linear(1, 1)

    def batches(self, epoch: int) -> Sequence[Tensor]:
        return [torch.ones(1, 1)]

    def loss(self, batch: Tensor) -> Tensor:
        loss: Tensor = self.module(batch).square().sum()
        return loss

    def validate(self) -> dict[str, float]:
        return {"quality": 1.0}


@pytest.mark.parametrize(("small", "times"), [(1 << 20, 0), (0, 3)])
def test_what_a_validation_freed_is_given_back_of_large_trainings_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, small: int, times: int
) -> None:
    given: list[None] = []
    monkeypatch.setattr(loop, "IN_MEMORY", small)
    monkeypatch.setattr(loop, "give_back_freed_memory", lambda: given.append(None))
    settings = TrainingSettings(epochs=2, batch_size=1, learning_rate=0.1, validate_every=1)
    loop.train(Line(), settings, state_folder=tmp_path, description="line")
    assert len(given) == times  # at the start, and after either epoch
