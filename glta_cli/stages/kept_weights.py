"""Item-item weights as they are stored: whole, or of a large catalogue the largest of each item."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from glta_cli.plugin import LinearTerm, LowRankTerm

# Of float32, 10,000 items: as much as an index of a hundred thousand users, read at 2 GB a second in a fifth of one.
MOST_BYTES: Final = 400_000_000
FLOAT: Final = 4
# A weight of a sparse matrix and its column.
ENTRY: Final = 8
# Rows that are sorted at once.
BLOCK: Final = 256


def as_kept(term: LinearTerm | LowRankTerm) -> tuple[LinearTerm | LowRankTerm, int | None]:
    """A term as it is stored, and how many weights of each item that holds; None where all, as of low rank."""
    kept = kept_a_row(term) if isinstance(term, LinearTerm) else None
    if kept is None or not isinstance(term, LinearTerm):
        return term, None
    return with_largest(term, kept), kept


def kept_a_row(term: LinearTerm) -> int | None:
    """How many weights of each item are stored, as fit `MOST_BYTES`; None where all are."""
    items, weights = term.weights.shape[0], term.weights
    size = FLOAT * items**2 if isinstance(weights, np.ndarray) else ENTRY * weights.nnz
    return None if size <= MOST_BYTES else room_a_row(items)


def room_a_row(items: int) -> int:
    """How many weights of each of so many items fit into `MOST_BYTES`, one at least."""
    return max(1, MOST_BYTES // (ENTRY * items))


def with_largest(term: LinearTerm, kept: int) -> LinearTerm:
    """The term with the weights of largest absolute value of each row, float32 [I, I] in compressed rows."""
    return LinearTerm(largest_of(_blocks(term.weights), kept), term.recency)


def largest_of(blocks: Iterable[NDArray[np.float32]], kept: int) -> csr_array:
    """Of rows that come in blocks [B, I], the weights of largest absolute value of each, in compressed rows.

    Of equal ones the first in the order of the items are kept; zeros are not.
    """
    counts, columns, values, width = [], [], [], 0
    for rows in blocks:
        found = _largest(rows, kept)
        counts.append(found.sum(axis=1))
        columns.append(np.nonzero(found)[1].astype(np.int32))
        values.append(rows[found])
        width = rows.shape[1]
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    return csr_array((np.concatenate(values), np.concatenate(columns), indptr), shape=(len(indptr) - 1, width))


def _largest(rows: NDArray[np.float32], kept: int) -> NDArray[np.bool_]:
    """Which weights of each row are kept, [B, I]."""
    sizes = np.abs(rows)
    place = max(0, rows.shape[1] - kept)
    # The kept-th largest of each row: all above it, and as many equal to it as there is room for.
    least = np.partition(sizes, place, axis=1)[:, place : place + 1]  # [B, 1]
    above = sizes > least
    equal = (sizes == least) & (least > 0)
    room = kept - above.sum(axis=1, keepdims=True)
    chosen: NDArray[np.bool_] = above | (equal & (np.cumsum(equal, axis=1) <= room))
    return chosen


def _blocks(weights: Any) -> Iterator[NDArray[np.float32]]:
    for start in range(0, weights.shape[0], BLOCK):
        block = weights[start : start + BLOCK]
        yield block if isinstance(block, np.ndarray) else block.toarray()  # [B, I]
