"""A clean table: interactions without gaps or duplicates, as places in the rows they were read from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import polars as pl
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class CleanTable:
    """Interactions without gaps or duplicates, by index, and the ids behind the indices.

    Of a large log the columns are not copied before they are written, some rows at a time.

    Attributes:
        rows: columns of all rows that were read, but for users and items: `rating` (Float64), `timestamp` (Int64
            seconds) and `split` (one of `SPLITS`) where the source has them; `weight` (Float32) and `seen` (Boolean)
            where they are not the same everywhere, 1 and true.
        order: uint32 [n], the place in `rows` of each interaction: user after user, each user's in order of time, else
            of the source.
        indptr: int64 [U + 1], where each user's interactions begin, and the end.
        items: int32 [n], the item index of each interaction.
        users_met: original ids; users are numbered in the order of their first kept row in the source.
        items_met: the same for items; an item without an interaction is not in the catalogue.
        dropped: rows removed, by reason; reasons that removed none are left out.
        first_dropped: for reasons of incomplete rows, which row of the source is the first of them.
        first_repeated: user and item of the first duplicate; None where there is none.
        added_up: rows that are no interaction of their own, since their weight was added to another one's.
        weight_of_all: what every interaction counts for where `weight` is left out, being the same everywhere.
    """

    rows: pl.DataFrame
    order: NDArray[np.uint32]
    indptr: NDArray[np.int64]
    items: NDArray[np.int32]
    users_met: pl.Series
    items_met: pl.Series
    dropped: dict[str, int] = field(default_factory=dict)
    first_dropped: dict[str, int] = field(default_factory=dict)
    first_repeated: tuple[str, str] | None = None
    added_up: int = 0
    weight_of_all: float = 1.0

    @property
    def height(self) -> int:
        return len(self.order)

    @property
    def columns(self) -> list[str]:
        return ["user", "item", *self.rows.columns]

    @cached_property
    def user_ids(self) -> list[str]:
        return self.users_met.to_list()

    @cached_property
    def item_ids(self) -> list[str]:
        return self.items_met.to_list()

    @property
    def interactions(self) -> pl.DataFrame:
        """All of them in memory at once."""
        return self.part(0, self.height)

    def column(self, name: str) -> pl.Series:
        """One column of `rows`, in the order of the interactions [n]."""
        return self.rows[name].gather(pl.Series(self.order))

    def part(self, start: int, stop: int) -> pl.DataFrame:
        """Some interactions in their order: `user` and `item` (Int32 indices) and the columns of `rows`."""
        first, last = (int(np.searchsorted(self.indptr, place, side="right")) - 1 for place in (start, stop - 1))
        bounds = np.clip(self.indptr[first : last + 2], start, stop)
        users = np.repeat(np.arange(first, last + 1, dtype=np.int32), np.diff(bounds))
        places = pl.Series(self.order[start:stop])
        table = pl.DataFrame({"user": users, "item": self.items[start:stop]})
        return table.hstack([column.gather(places) for column in self.rows])

    def parts(self, size: int) -> Iterator[pl.DataFrame]:
        """All of them, some `size` at a time; one without rows where there is none."""
        return (self.part(start, min(start + size, self.height)) for start in range(0, max(self.height, 1), size))
