"""Ids as numbers: one of four bytes for each row of a log, and the texts once for all rows.

What goes through all rows goes through them piece by piece. NumPy would turn numbers of four bytes into those of eight
to count or to look something up by them, all at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

# Rows gone through at a time: enough that a call costs nothing, and 32 MB of numbers.
PIECE: Final = 1 << 22

Codes = NDArray[np.uint32]


def categories() -> pl.Categorical:
    """A type of column that holds each text once; of its own, so that its numbers have no gaps of another's."""
    return pl.Categorical(pl.Categories.random())


def codes_of(rows: pl.DataFrame, *columns: str) -> list[NDArray[np.int64]]:
    """A number for each id of a column, the same for equal ones; int64 [n] for each column of strings."""
    coded = rows.select(pl.col(name).cast(categories()).to_physical() for name in columns)
    return [column.to_numpy().astype(np.int64) for column in coded]


def codes_in(ids: pl.Series) -> Codes:
    """The numbers behind a column of categories, [n]; any number where there is no id. Not copied if in one chunk."""
    numbers = ids.to_physical()
    return (numbers.fill_null(0) if numbers.has_nulls() else numbers).to_numpy()


def pieces(count: int) -> Iterator[slice]:
    """Consecutive rows, `PIECE` of them at a time."""
    return (slice(start, min(start + PIECE, count)) for start in range(0, count, PIECE))


def looked_up(table: NDArray[Any], codes: NDArray[np.integer]) -> NDArray[Any]:
    """`table[codes]`."""
    found = np.empty(len(codes), dtype=table.dtype)
    for piece in pieces(len(codes)):
        found[piece] = table[codes[piece]]
    return found


def counts_of(codes: NDArray[np.integer], kept: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """How many rows each code has, of those that are kept; int64 [codes]."""
    counts = np.zeros(int(codes.max(initial=0)) + 1 if len(codes) else 0, dtype=np.int64)
    for piece in pieces(len(codes)):
        part = codes[piece] if kept is None else codes[piece][kept[piece]]
        counts += np.bincount(part, minlength=len(counts))
    return counts


def first_places(codes: NDArray[np.integer], kept: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """The first row of each code, of those that are kept, int64 [codes]; -1 where it has none."""
    first = np.full(int(codes.max(initial=0)) + 1 if len(codes) else 0, -1, dtype=np.int64)
    for piece in reversed(list(pieces(len(codes)))):
        places = np.arange(piece.start, piece.stop) if kept is None else piece.start + np.flatnonzero(kept[piece])
        # Of several assignments to one element the last one stays: from behind, that is the first appearance.
        first[codes[places[::-1]]] = places[::-1]
    return first


def order_of_appearance(
    codes: NDArray[np.integer], kept: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Number codes anew, 0, 1, ... in the order in which they first appear among the rows that are kept.

    Args:
        codes: non-negative and not much larger than there are different ones [n].

    Returns:
        The new number of each code, int32 [codes], -1 where no row is kept; and the row where each number first
        appears, int64 [K].
    """
    first = first_places(codes, kept)
    appears = np.sort(first[first >= 0])
    numbers = np.full(len(first), -1, dtype=np.int32)
    numbers[codes[appears]] = np.arange(len(appears), dtype=np.int32)
    return numbers, appears


def number_in_order(codes: NDArray[np.integer]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Number codes anew, 0, 1, ... in the order in which they first appear.

    Args:
        codes: non-negative and not much larger than there are different ones [n].

    Returns:
        The numbers, int32 [n], and the place where each number first appears, int32 [K].
    """
    numbers, appears = order_of_appearance(codes)
    return looked_up(numbers, codes), appears.astype(np.int32)
