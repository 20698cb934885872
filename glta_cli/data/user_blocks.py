"""A log in blocks of whole users: what is sorted within each of them takes the memory of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.progress import progress_bar
from glta_cli.data.codes import counts_of, looked_up

# About as many rows as a block has; more where one user has more.
BLOCK_ROWS: Final = 1 << 21
STEP: Final = "this block of users"
KEPT: Final = "nothing is kept of a dataset that is half prepared"
# What is in no block.
_LEFT_OUT: Final = np.iinfo(np.uint16).max


def places_by_user(
    users: NDArray[np.integer], kept: NDArray[np.bool_], told: str, numbers: NDArray[np.int32] | None = None
) -> Iterator[NDArray[np.int64]]:
    """The places of the rows of some users after the other, ascending; int64, about `BLOCK_ROWS` at a time.

    Args:
        users: the code of each row's user [n].
        kept: the rows that are in a block [n].
        told: what is done with the blocks, for a bar where they are several.
        numbers: of each code, by which users follow one another; None takes the codes as they are.
    """
    total = int(np.count_nonzero(kept))
    if total <= BLOCK_ROWS:
        yield np.flatnonzero(kept)
        return
    counts = counts_of(users, kept)
    order = np.arange(len(counts)) if numbers is None else np.argsort(numbers, kind="stable")
    block_of = np.empty(len(counts), dtype=np.uint16)  # of each code
    block_of[order] = (np.cumsum(counts[order]) - 1).clip(0) // BLOCK_ROWS
    blocks = looked_up(block_of, users)
    blocks[~kept] = _LEFT_OUT
    with progress_bar(total, told, "rows", within_another=True, step=STEP, kept=KEPT) as bar:
        for number in np.unique(block_of[counts > 0]).tolist():
            places = np.flatnonzero(blocks == number)
            yield places
            bar.update(len(places))


def ranges_of_users(indptr: NDArray[np.int64], told: str | None = None) -> Iterator[tuple[int, int]]:
    """First and last + 1 of consecutive users who together have about `BLOCK_ROWS` rows; one at least.

    Args:
        indptr: where each user's rows begin, and the end [U + 1].
        told: what is done with them, for a bar where they are several; None shows none.
    """
    count, first = len(indptr) - 1, 0
    shown = told is not None and indptr[-1] > BLOCK_ROWS
    with ExitStack() as stack:
        if shown:
            bar = stack.enter_context(
                progress_bar(int(indptr[-1]), str(told), "rows", within_another=True, step=STEP, kept=KEPT)
            )
        while first < count:
            last = max(first + 1, int(np.searchsorted(indptr, indptr[first] + BLOCK_ROWS, side="right")) - 1)
            yield first, last
            if shown:
                bar.update(int(indptr[last] - indptr[first]))
            first = last
