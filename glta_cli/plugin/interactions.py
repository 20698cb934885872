"""Which user met which item: the one form in which every stage sees interactions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class Interactions:
    """Users' items in compressed rows, user after user.

    Attributes:
        indptr: int64 [U + 1]; user u's items stand at `indptr[u]:indptr[u + 1]`.
        items: int64 [n], item indices; each user's in order of time, or of the source without times.
        item_count: size of the catalogue, which may hold items that no one here met.
        weights: float32 [n], along `items`, positive: what each counts for; None where all count the same, 1.
    """

    indptr: NDArray[np.int64]
    items: NDArray[np.int64]
    item_count: int
    weights: NDArray[np.float32] | None = None

    @classmethod
    def from_pairs(
        cls,
        users: ArrayLike,
        items: ArrayLike,
        *,
        user_count: int,
        item_count: int,
        weights: NDArray[np.float32] | None = None,
    ) -> Interactions:
        """Group pairs by user, keeping each user's items in the order given.

        Args:
            users: user indices [n], below `user_count`.
            items: item indices [n], below `item_count`.
            weights: of the pairs, float32 [n].
        """
        rows = np.asarray(users, dtype=np.int64)
        indptr = np.zeros(user_count + 1, dtype=np.int64)
        np.cumsum(np.bincount(rows, minlength=user_count), out=indptr[1:])
        if (rows[1:] >= rows[:-1]).all():
            # As prepared datasets have them: of a large log a sort takes more than all the rest.
            columns = np.array(items, dtype=np.int64)
            return cls(indptr, columns, item_count, None if weights is None else np.array(weights))
        order = np.argsort(rows, kind="stable")
        columns = np.asarray(items, dtype=np.int64)[order]
        return cls(indptr, columns, item_count, None if weights is None else weights[order])

    @property
    def user_count(self) -> int:
        return len(self.indptr) - 1

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Items per user, int64 [U]."""
        return np.diff(self.indptr)

    @cached_property
    def users(self) -> NDArray[np.int64]:
        """The user of each entry of `items`, int64 [n]."""
        return np.repeat(np.arange(self.user_count, dtype=np.int64), self.counts)

    @cached_property
    def relative_weights(self) -> NDArray[np.float32] | None:
        """The weights over their mean, float32 [n]: what a loss multiplies by; None where all count the same.

        With a mean of 1 the scale a person chose, 1 to 3 or 10 to 30, changes neither the size of a loss nor what a
        learning rate or another term of the loss is to it.
        """
        if self.weights is None or not len(self.weights):
            return None
        return self.weights / np.float32(self.weights.mean(dtype=np.float64))

    def of(self, user: int) -> NDArray[np.int64]:
        """The items of one user, int64, in order."""
        return self.items[self.indptr[user] : self.indptr[user + 1]]

    def where(self, kept: NDArray[np.bool_] | NDArray[np.int64]) -> Interactions:
        """Those marked along `items`, or at these ascending places of it; users and items keep their indices."""
        return Interactions.from_pairs(
            self.users[kept],
            self.items[kept],
            user_count=self.user_count,
            item_count=self.item_count,
            weights=None if self.weights is None else self.weights[kept],
        )

    def __len__(self) -> int:
        return len(self.items)
