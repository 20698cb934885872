"""Several rows of one user with one item: which of them stands, and what their weights are together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from glta_cli.data.codes import Codes
from glta_cli.data.parts import SPLITS
from glta_cli.data.sorting import stable_order
from glta_cli.data.user_blocks import places_by_user


@dataclass(frozen=True)
class OnceEach:
    """A log in which every pair of user and item stands once.

    Attributes:
        kept: bool [n], the rows that stand.
        repeated: how many repeat a pair of their own part of the split.
        elsewhere: how many others do not stand, for their pair stands in an earlier part.
        weights: float32 [n], the sum of the weights of each row's pair; None where rows have none.
        seen: bool [n], whether any row of the pair is seen; None where nothing is said of it.
    """

    kept: NDArray[np.bool_]
    repeated: int
    elsewhere: int
    weights: NDArray[np.float32] | None
    seen: NDArray[np.bool_] | None


def once_each(rows: pl.DataFrame, users: Codes, items: Codes, complete: NDArray[np.bool_]) -> OnceEach:
    """Of each pair the first row in time, else in the source; the first of the earliest part, the heaviest before all.

    Args:
        rows: columns of all rows; `timestamp`, `weight`, `seen` and `split` where there are such.
        users, items: of the rows, as numbers [n].
        complete: the rows to choose from [n].
    """
    columns = {column.name: column for column in rows}
    kept = complete.copy()
    weights = np.zeros(len(kept), dtype=np.float32) if "weight" in columns else None
    seen = np.zeros(len(kept), dtype=bool) if "seen" in columns else None
    repeated = elsewhere = 0
    for places in places_by_user(users, complete, "find what is there twice"):
        block = _Block.of(columns, users, items, places)
        twice = block.repeated()
        kept[places[twice]] = False
        same = len(twice) if block.parts is None else block.repeated_in_parts()
        repeated, elsewhere = repeated + same, elsewhere + len(twice) - same
        if weights is not None:
            weights[places] = block.sums_of_weights()
        if seen is not None:
            seen[places] = block.seen_at_all()
    return OnceEach(kept, repeated, elsewhere, weights, seen)


@dataclass(frozen=True)
class _Block:
    """Some rows in the order of the source [m]: their pairs as numbers, and what else is known of them."""

    pairs: NDArray[np.int64]
    times: NDArray[np.int64] | None
    weights: NDArray[np.float64] | None
    seen: NDArray[np.bool_] | None
    parts: NDArray[np.int64] | None

    @classmethod
    def of(cls, columns: dict[str, pl.Series], users: Codes, items: Codes, places: NDArray[np.int64]) -> _Block:
        def taken(name: str) -> pl.Series | None:
            return columns[name].gather(pl.Series(places)) if name in columns else None

        block_users, block_items = users[places].astype(np.int64), items[places].astype(np.int64)
        block_users -= block_users.min() if len(places) else 0
        times, weights, seen, parts = (taken(name) for name in ("timestamp", "weight", "seen", "split"))
        return cls(
            pairs=block_users * (block_items.max(initial=0) + 1) + block_items,
            times=None if times is None else times.to_numpy(),
            weights=None if weights is None else weights.to_numpy(),
            seen=None if seen is None else seen.fill_null(True).to_numpy(),
            parts=None if parts is None else parts.to_physical().to_numpy().astype(np.int64),
        )

    def repeated(self) -> NDArray[np.int64]:
        """The rows whose pair has another row that stands."""
        first = np.arange(len(self.pairs)) if self.times is None else stable_order(self.times)
        if self.weights is not None:
            first = first[np.argsort(-self.weights[first], kind="stable")]
        if self.parts is not None:
            first = first[stable_order(self.parts[first])]
        return first[_behind_an_equal(self.pairs[first])]

    def repeated_in_parts(self) -> int:
        assert self.parts is not None
        return len(_behind_an_equal(self.pairs * len(SPLITS) + self.parts))

    def sums_of_weights(self) -> NDArray[np.float32]:
        """For each row the weight of its pair, of a divided source within a part [m]."""
        assert self.weights is not None
        keys = self.pairs if self.parts is None else self.pairs * len(SPLITS) + self.parts
        largest = np.finfo(np.float32)
        return _sums_of_equal(keys, self.weights).clip(largest.tiny, largest.max).astype(np.float32)

    def seen_at_all(self) -> NDArray[np.bool_]:
        assert self.seen is not None
        return _sums_of_equal(self.pairs, self.seen.astype(np.float64)) > 0


def _behind_an_equal(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places of the keys that stand before already [m]."""
    order = stable_order(keys)
    keys = keys[order]
    return order[1:][keys[1:] == keys[:-1]]


def _sums_of_equal(keys: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each row the sum of the values of all rows of its key [m]."""
    order = stable_order(keys)
    ordered = keys[order]
    groups = np.empty(len(keys), dtype=np.int64)  # 0, 1, ... of each row's key
    groups[order] = np.cumsum(np.diff(ordered, prepend=ordered[:1]) != 0)
    sums = np.asarray(np.bincount(groups, weights=values), dtype=np.float64)
    return sums[groups]
