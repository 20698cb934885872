"""Scorers: the one form in which every model ranks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scorer = Callable[[NDArray[np.int64]], NDArray[np.float32]]
"""User indices [B] -> scores [B, I]; the array is the caller's to change."""


@dataclass(frozen=True, eq=False)
class ProductScorer:
    """Inner products, of a part of the catalogue too, so that a ranking never holds the scores of all of it.

    Attributes:
        users: float32 [U, d].
        columns: of items, float32 [d, I].
    """

    users: NDArray[np.float32]
    columns: NDArray[np.float32]

    @property
    def item_count(self) -> int:
        return self.columns.shape[1]

    def __call__(self, batch: NDArray[np.int64]) -> NDArray[np.float32]:
        """[B] -> [B, I]."""
        scores: NDArray[np.float32] = self.users[batch] @ self.columns
        return scores

    def among(self, batch: NDArray[np.int64], items: slice) -> NDArray[np.float32]:
        """[B] -> [B, n], of neighbouring items."""
        scores: NDArray[np.float32] = self.users[batch] @ self.columns[:, items]
        return scores


def product_scorer(users: NDArray[np.float32], items: NDArray[np.float32]) -> ProductScorer:
    """Inner products of user vectors [U, d] and item vectors [I, d].

    Example:
        import numpy as np

        from glta_cli.plugin import product_scorer

        score = product_scorer(np.eye(2, dtype=np.float32), np.ones((3, 2), dtype=np.float32))
        assert score(np.array([1])).tolist() == [[1, 1, 1]]  # of user 1, [1, I]
    """
    # Of columns a product of a block reads in order.
    return ProductScorer(users, np.ascontiguousarray(items.T))
