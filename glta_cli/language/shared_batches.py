"""Batches that are computed one after another, or side by side by the processes that work together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.world import ALONE, Team, team
from glta_cli.plugin import LanguageModel, SentenceEncoder

Rows = NDArray[np.int64]
Answer = TypeVar("Answer")


def passed_together(model: LanguageModel | SentenceEncoder) -> bool:
    """Whether all processes have to run a model equally often, since each of them holds a part of its weights."""
    return bool(getattr(model, "sharded", False))


def dealt_among(model: LanguageModel) -> Team:
    """The processes that share batches of which some may have one more than others; this one alone where it may not."""
    return ALONE if passed_together(model) else team()


def computed(
    batches: Sequence[Rows], compute: Callable[[Rows], NDArray[Any]], *, together: bool = False
) -> Iterator[tuple[Rows, NDArray[Any]]]:
    """The rows [B] of each batch with what is computed of them, [B, ...], in the order of the batches.

    Of processes that work together each computes every so-manieth batch, as they are for one process, and all of them
    get what all computed. The batches of a round go together.

    Args:
        together: all processes compute equally often: who has no batch left computes the last one once more.
    """
    us = team()
    for start in range(0, len(batches), us.size):
        own = start + us.rank
        values: NDArray[Any] = np.empty(0, dtype=np.float32)
        if own < len(batches):
            values = compute(batches[own])
        elif together:
            compute(batches[-1])
        found = [each for each in us.gathered(values) if len(each)]
        yield np.concatenate(batches[start : start + us.size]), np.concatenate(found) if len(found) > 1 else found[0]


def answered(
    batches: Sequence[Rows], answer: Callable[[Rows], list[Answer]], *, together: bool = False
) -> Iterator[tuple[Rows, list[Answer]]]:
    """As `computed`, of what is no array: the rows of each round of batches with the answers to them.

    Args:
        together: all processes answer all batches: one that answers does so in passes whose number nobody knows.
    """
    us = ALONE if together else team()
    for start in range(0, len(batches), us.size):
        own = start + us.rank
        answers = answer(batches[own]) if own < len(batches) else []
        found = [each for some in us.gathered_objects(answers) for each in some]
        yield np.concatenate(batches[start : start + us.size]), found
