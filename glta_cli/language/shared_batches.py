"""Batches that are computed one after another, or side by side by the processes that work together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.world import team

# What several processes share may be the model itself, layer by layer: in each round all of them run it, who has no
# batch left the first of the round.
Rows = NDArray[np.int64]
Answer = TypeVar("Answer")


def computed(batches: Sequence[Rows], compute: Callable[[Rows], NDArray[Any]]) -> Iterator[tuple[Rows, NDArray[Any]]]:
    """The rows [B] of each batch with what is computed of them, [B, ...], in the order of the batches.

    Of processes that work together each computes every so-manieth batch, as they are for one process, and all of them
    get what all computed. The batches of a round go together.
    """
    us = team()
    for start in range(0, len(batches), us.size):
        own, _ = _own(start, len(batches))
        together = batches[start : start + us.size]
        found = us.gathered(compute(batches[own]))[: len(together)]
        yield np.concatenate(together), np.concatenate(found) if len(found) > 1 else found[0]


def answered(batches: Sequence[Rows], answer: Callable[[Rows], list[Answer]]) -> Iterator[tuple[Rows, list[Answer]]]:
    """As `computed`, of what is no array: the rows of each round of batches with the answers to them."""
    us = team()
    for start in range(0, len(batches), us.size):
        own, _ = _own(start, len(batches))
        together = batches[start : start + us.size]
        answers = us.gathered_objects(answer(batches[own]))[: len(together)]
        yield np.concatenate(together), [each for some in answers for each in some]


def rounds(count: int) -> Iterator[tuple[int, bool]]:
    """Which of so many batches this process computes, one a round, and whether it is its own to count."""
    for start in range(0, count, team().size):
        yield _own(start, count)


def _own(start: int, count: int) -> tuple[int, bool]:
    own = start + team().rank
    return (own, True) if own < count else (start, False)
