"""Scorers: the one form in which every model ranks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Scorer = Callable[[NDArray[np.int64]], NDArray[np.float32]]
"""User indices [B] -> scores [B, I]; the array is the caller's to change."""


def product_scorer(users: NDArray[np.float32], items: NDArray[np.float32]) -> Scorer:
    """Inner products of user vectors [U, d] and item vectors [I, d].

    Example:
        import numpy as np

        from glta_cli.plugin import product_scorer

        score = product_scorer(np.eye(2, dtype=np.float32), np.ones((3, 2), dtype=np.float32))
        assert score(np.array([1])).tolist() == [[1, 1, 1]]  # of user 1, [1, I]
    """
    columns = np.ascontiguousarray(items.T)  # [d, I], read in order by the product of a block
    return lambda batch: users[batch] @ columns
