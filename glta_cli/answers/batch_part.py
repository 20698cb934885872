"""One part of many answers: the rows of some users, as bytes of the file they go to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from glta_cli.answers.batch_formats import encoded
from glta_cli.answers.question import Question
from glta_cli.answers.run import Run
from glta_cli.ranking.top_k import BLOCK
from glta_cli.serving.choice import Choice, Ranked, best_of
from glta_cli.serving.index import Index
from glta_cli.serving.reasons import Reasons
from glta_cli.serving.recommender import AskedRun, reading, reasons_of_user
from glta_cli.serving.rows import in_place_of, row_called
from glta_cli.serving.served_row import ServedRow
from glta_cli.serving.string_column import StringColumn
from glta_cli.workspace.artefact import Artefact

if TYPE_CHECKING:
    import polars as pl

MOST_PART, PARTS = 8 * BLOCK, 64
"""Users a part at most, a second's work or less; and how many parts fewer users make, for processes to share."""

REASON: Final = ("item", "title", "share")
MOST_REASONS: Final = 10
"""Items of a history that are named as reasons of one recommendation: those that do most."""

MOST_SCORES: Final = 1 << 24
"""Scores of a block, 64 MiB: of a catalogue of more than 131,072 items fewer users are scored at once."""


@dataclass(frozen=True, eq=False)
class BatchQuestion:
    """What is asked of every user; it can be sent to another process.

    Attributes:
        run: that is asked, and the index it answers from.
        question: but for the user.
        form: of the rows.
        liking: what the question's wish makes of all items, [I], read once for all processes; None of none.
    """

    run: AskedRun
    index: Path
    question: Question
    form: str
    liking: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Part:
    """The answers of some users.

    Attributes:
        content: their rows.
        rows: how many those are.
        without: users with no row, as everything was left out.
        unknown: users ranked by popularity, or by the wish alone, as the row tells nothing of them.
    """

    content: bytes
    rows: int
    without: int
    unknown: int = 0


def part_size(users: int, *, because: bool = False) -> int:
    """Users a part of so many: whole blocks, and the same however many processes there are.

    Args:
        because: whether reasons are found, which takes so much longer that a part is one block.
    """
    if because:
        return BLOCK
    return int(np.clip(-(-users // PARTS // BLOCK) * BLOCK, BLOCK, MOST_PART))


def answering(asked: BatchQuestion) -> Callable[[NDArray[np.int64]], Part]:
    """Users of a part, positions [n] -> their rows.

    Raises:
        InputError: there is no such row, or what may be answered cannot be understood.
        GltaError: the index is damaged.
    """
    run = Run(asked.run, Artefact(asked.index))
    index, k = run.index, asked.question.k
    row, choice = row_called(index, asked.question.model), run.choice_of(asked.question, asked.liking)
    block = max(1, min(BLOCK, MOST_SCORES // index.seen.item_count))
    # What is in nobody's answers is masked as if these users had seen it: where there is nothing, a scorer serves all.
    shared = None if len(index.delisted) else index.scorer(index.seen, row=row)

    popularity = in_place_of(index, row)

    def part(users: NDArray[np.int64]) -> Part:
        with reading(run.artefact):
            left_out = index.left_out(users)
            score = shared or index.scorer(*left_out, row=row)
            ranked = [
                best
                for start in range(0, len(users), block)
                for best in best_of(score, users[start : start + block], k, choice, *left_out, popularity=popularity)
            ]
            why = _reasons(index, row, users, ranked, choice) if asked.question.because else None
            table = rows_of(index, users, ranked, why)
        without = sum(not len(best.items) for best in ranked)
        unknown = sum(best.by_popularity or best.by_liking for best in ranked)
        return Part(encoded(table, asked.form), table.height, without, unknown)

    return part


def _reasons(
    index: Index, row: ServedRow, users: NDArray[np.int64], ranked: Sequence[Ranked], choice: Choice
) -> list[Reasons]:
    # One wish is everybody's.
    return [
        reasons_of_user(index, row, int(user), found, choice.liking_of(0))
        for user, found in zip(users, ranked, strict=True)
    ]


def rows_of(
    index: Index, users: NDArray[np.int64], ranked: Sequence[Ranked], why: Sequence[Reasons] | None = None
) -> pl.DataFrame:
    """Columns user, rank, item, title and score, with original ids; users [n] one after the other.

    With reasons also `because`: of the items of the history that do most to a score, at most `MOST_REASONS`, each its
    id, its title and its share of all that the history does; none where it does nothing, as to popularity.
    """
    import polars as pl

    counts = np.array([len(best.items) for best in ranked])
    items, scores = (np.concatenate([getattr(best, name) for best in ranked]) for name in ("items", "scores"))
    ranks = np.arange(len(items)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    distinct, place = np.unique(items, return_inverse=True)

    def repeated(texts: StringColumn, positions: NDArray[np.int64], places: NDArray[np.int64]) -> pl.Series:
        return pl.Series([texts[position] for position in positions], dtype=pl.String).gather(places)

    table = pl.DataFrame(
        {
            "user": repeated(index.user_ids, users, np.repeat(np.arange(len(users)), counts)),
            "rank": pl.Series(ranks, dtype=pl.Int32),
            "item": repeated(index.item_ids, distinct, place),
            "title": repeated(index.titles, distinct, place),
            # As --json of one user says it.
            "score": pl.Series(np.round(scores.astype(np.float64), 4)),
        }
    )
    return table if why is None else table.with_columns(because=_because(index, ranked, why))


def _because(index: Index, ranked: Sequence[Ranked], why: Sequence[Reasons]) -> pl.Series:
    import polars as pl

    @cache
    def shown(item: int) -> dict[str, str]:
        return {"item": index.item_ids[item], "title": index.titles[item]}

    def most(reasons: Reasons, place: int) -> list[dict[str, Any]]:
        doing = [each for each in reasons.of(place, shown)["history"] if each["part"]]
        return [{name: each[name] for name in REASON} for each in doing[:MOST_REASONS]]

    said = [most(reasons, place) for best, reasons in zip(ranked, why, strict=True) for place in range(len(best.items))]
    return pl.Series(said, dtype=pl.List(pl.Struct(dict(zip(REASON, (pl.String, pl.String, pl.Float64), strict=True)))))
