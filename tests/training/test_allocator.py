"""Freed memory is kept for the next step where there is enough of it, and given back where it is scarce."""

from __future__ import annotations

import sys

import pytest

from glta_cli.training.allocator import M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, keep_freed_memory


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
