"""A log in blocks of whole users: what is sorted within each of them takes the memory of one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from glta_cli.data.codes import counts_of, looked_up

# About as many rows as a block has; more where one user has more.
BLOCK_ROWS: Final = 1 << 22
# What is in no block.
_LEFT_OUT: Final = np.iinfo(np.uint16).max


def places_by_user(
    users: NDArray[np.integer], kept: NDArray[np.bool_], numbers: NDArray[np.int32] | None = None
) -> Iterator[NDArray[np.int64]]:
    """The places of the rows of some users after the other, ascending; int64, about `BLOCK_ROWS` at a time.

    Args:
        users: the code of each row's user [n].
        kept: the rows that are in a block [n].
        numbers: of each code, by which users follow one another; None takes the codes as they are.
    """
    if np.count_nonzero(kept) <= BLOCK_ROWS:
        yield np.flatnonzero(kept)
        return
    counts = counts_of(users, kept)
    order = np.arange(len(counts)) if numbers is None else np.argsort(numbers, kind="stable")
    block_of = np.empty(len(counts), dtype=np.uint16)  # of each code
    block_of[order] = (np.cumsum(counts[order]) - 1).clip(0) // BLOCK_ROWS
    blocks = looked_up(block_of, users)
    blocks[~kept] = _LEFT_OUT
    for number in np.unique(block_of[counts > 0]).tolist():
        yield np.flatnonzero(blocks == number)


def ranges_of_users(indptr: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """First and last + 1 of consecutive users who together have about `BLOCK_ROWS` rows; one at least.

    Args:
        indptr: where each user's rows begin, and the end [U + 1].
    """
    count, first = len(indptr) - 1, 0
    while first < count:
        last = max(first + 1, int(np.searchsorted(indptr, indptr[first] + BLOCK_ROWS, side="right")) - 1)
        yield first, last
        first = last
