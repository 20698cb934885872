"""One part of many answers: the rows of some users, as bytes of the file they go to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from glta_cli.answers.batch_formats import encoded
from glta_cli.ranking.top_k import BLOCK, mask_seen, top_k
from glta_cli.serving.index import Index
from glta_cli.workspace.artefact import Artefact

if TYPE_CHECKING:
    import polars as pl

MOST_PART, PARTS = 8 * BLOCK, 64
"""Users a part at most, a second's work or less; and how many parts fewer users make, for processes to share."""

MOST_SCORES: Final = 1 << 24
"""Scores of a block, 64 MiB: of a catalogue of more than 131,072 items fewer users are scored at once."""


@dataclass(frozen=True)
class BatchQuestion:
    """What is asked of every user; it can be sent to another process."""

    index: Path
    k: int
    form: str


@dataclass(frozen=True)
class Part:
    """The answers of some users.

    Attributes:
        content: their rows.
        rows: how many those are.
        without: users with no row, as everything was left out.
    """

    content: bytes
    rows: int
    without: int


def part_size(users: int) -> int:
    """Users a part of so many: whole blocks, and the same however many processes there are."""
    return int(np.clip(-(-users // PARTS // BLOCK) * BLOCK, BLOCK, MOST_PART))


def answering(question: BatchQuestion) -> Callable[[NDArray[np.int64]], Part]:
    """Users of a part, positions [n] -> their rows."""
    index = Index(Artefact(question.index))
    score = index.scorer(index.seen)
    block = max(1, min(BLOCK, MOST_SCORES // index.seen.item_count))

    def part(users: NDArray[np.int64]) -> Part:
        ranked = []
        for start in range(0, len(users), block):
            batch = users[start : start + block]
            scores = score(batch)
            mask_seen(scores, batch, index.seen)
            found = top_k(scores, question.k)
            values = np.take_along_axis(scores, found, axis=1)
            ranked += [(items[np.isfinite(v)], v[np.isfinite(v)]) for items, v in zip(found, values, strict=True)]
        counts = np.array([len(items) for items, _ in ranked])
        items, values = (np.concatenate(each) for each in zip(*ranked, strict=True))
        table = rows_of(index, users, counts, items, values)
        return Part(encoded(table, question.form), table.height, int((counts == 0).sum()))

    return part


def rows_of(
    index: Index,
    users: NDArray[np.int64],
    counts: NDArray[np.int64],
    items: NDArray[np.int64],
    scores: NDArray[np.float32],
) -> pl.DataFrame:
    """Columns user, rank, item, title and score, with original ids.

    Args:
        users, counts: whose items they are, and how many each has, [n].
        items, scores: of all users, best first, one user after the other, [r].
    """
    import polars as pl

    ranks = np.arange(len(items)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    distinct, place = np.unique(items, return_inverse=True)

    def texts(column: list[str]) -> pl.Series:
        return pl.Series(column, dtype=pl.String).gather(place)

    return pl.DataFrame(
        {
            "user": pl.Series([index.user_ids[user] for user in users], dtype=pl.String).gather(
                np.repeat(np.arange(len(users)), counts)
            ),
            "rank": pl.Series(ranks, dtype=pl.Int32),
            "item": texts([index.item_ids[item] for item in distinct]),
            "title": texts([index.titles[item] for item in distinct]),
            # As --json of one user says it.
            "score": pl.Series(np.round(scores.astype(np.float64), 4)),
        }
    )
