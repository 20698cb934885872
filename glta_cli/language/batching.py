"""Batches of prompts that are alike in length, so that little of the work is padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray


def length_batches(lengths: Sequence[int] | NDArray[np.int64], batch_size: int) -> Iterator[NDArray[np.int64]]:
    """Rows of prompts of `lengths` tokens [n], longest first, in batches that take about the same memory.

    A start that prompts share counts in each of them: it is computed once, but its keys and values lie in every row.

    A batch has at most as many tokens, padding included, as `batch_size` of the longest prompts: what does not fit
    into memory fails at once, and short prompts fill the processor as well as long ones do.
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")
    start = 0
    while start < len(order):
        size = batch_size * lengths[order[0]] // max(1, lengths[order[start]])
        yield order[start : start + max(1, int(size))]
        start += max(1, int(size))
