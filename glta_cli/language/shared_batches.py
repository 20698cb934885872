"""Batches that are computed one after another, or side by side by the processes that work together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.world import team

Rows = NDArray[np.int64]
Answer = TypeVar("Answer")


def computed(batches: Sequence[Rows], compute: Callable[[Rows], NDArray[Any]]) -> Iterator[tuple[Rows, NDArray[Any]]]:
    """The rows [B] of each batch with what is computed of them, [B, ...], in the order of the batches.

    Of processes that work together each computes every so-manieth batch, as they are for one process, and all of them
    get what all computed. The batches of a round go together.
    """
    us = team()
    for start in range(0, len(batches), us.size):
        own = start + us.rank
        values = compute(batches[own]) if own < len(batches) else np.empty(0, dtype=np.float32)
        found = [each for each in us.gathered(values) if len(each)]
        yield np.concatenate(batches[start : start + us.size]), np.concatenate(found) if len(found) > 1 else found[0]


def answered(batches: Sequence[Rows], answer: Callable[[Rows], list[Answer]]) -> Iterator[tuple[Rows, list[Answer]]]:
    """As `computed`, of what is no array: the rows of each round of batches with the answers to them."""
    us = team()
    for start in range(0, len(batches), us.size):
        own = start + us.rank
        answers = answer(batches[own]) if own < len(batches) else []
        together = [each for some in us.gathered_objects(answers) for each in some]
        yield np.concatenate(batches[start : start + us.size]), together
