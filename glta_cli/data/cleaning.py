"""What a loader read becomes a clean table: every row that leaves is counted by its reason."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from glta_cli.errors import InputError


@dataclass(frozen=True)
class CleanTable:
    """Interactions without gaps or duplicates, by index, and the ids behind the indices.

    Attributes:
        interactions: `user` and `item` (Int32 indices), `rating` (Float64) and `timestamp` (Int64 seconds)
            where the source has them; user after user, each user's rows in order of time, else of the source.
        user_ids: original ids; users are numbered in the order of their first kept row in the source.
        item_ids: the same for items; an item without an interaction is not in the catalogue.
        dropped: rows removed, by reason; reasons that removed none are left out.
    """

    interactions: pl.DataFrame
    user_ids: list[str]
    item_ids: list[str]
    dropped: dict[str, int] = field(default_factory=dict)


def clean(interactions: pl.LazyFrame, *, min_rating: float | None, kcore: int) -> CleanTable:
    """Drop incomplete rows, low ratings and duplicates, then everything outside the k-core.

    Of several interactions of one user with one item the first in time counts, else the first in the source.

    Args:
        interactions: columns `user` and `item`, optionally `rating` and `timestamp` (see `RawDataset`).
        min_rating: least rating kept; None keeps all.
        kcore: least number of interactions of every user and item; 0 and 1 keep all.

    Raises:
        InputError: a least rating, but no ratings.
    """
    rows = _typed(interactions).with_row_index("row").collect()
    if min_rating is not None and "rating" not in rows.columns:
        raise InputError(
            f"min_rating {min_rating} cannot be applied: there are no ratings",
            location="dataset.min_rating",
            hint="--min-rating none keeps all interactions",
        )
    dropped: dict[str, int] = {}

    def keep(kept: pl.DataFrame, reason: str) -> pl.DataFrame:
        if kept.height < rows.height:
            dropped[reason] = rows.height - kept.height
        return kept

    rows = keep(rows.filter(_present("user")), "missing user")
    rows = keep(rows.filter(_present("item")), "missing item")
    if "rating" in rows.columns:
        rows = keep(rows.filter(pl.col("rating").is_not_null() & pl.col("rating").is_not_nan()), "missing rating")
    if "timestamp" in rows.columns:
        rows = keep(rows.filter(pl.col("timestamp").is_not_null()), "missing timestamp")
    if min_rating is not None:
        rows = keep(rows.filter(pl.col("rating") >= min_rating), "rating below min_rating")
    by_time = ["timestamp", "row"] if "timestamp" in rows.columns else ["row"]
    rows = keep(rows.sort(by_time).unique(["user", "item"], keep="first", maintain_order=True), "duplicate")

    numbered, user_ids, item_ids = _numbered(rows)
    inside = kcore_mask(numbered["user"].to_numpy(), numbered["item"].to_numpy(), kcore)
    if not inside.all():
        rows = keep(rows.filter(pl.Series(inside)), "k-core")
        numbered, user_ids, item_ids = _numbered(rows)
    return CleanTable(numbered.sort("user", *by_time).drop("row"), user_ids, item_ids, dropped)


def kcore_mask(users: NDArray[np.integer], items: NDArray[np.integer], k: int) -> NDArray[np.bool_]:
    """Which interactions are left when users and items with fewer than `k` are removed until none is.

    Args:
        users: user indices [n].
        items: item indices [n].

    Returns:
        bool [n]; the largest set in which every user and every item has at least `k` interactions.
    """
    inside = np.ones(len(users), dtype=bool)
    while len(users):
        enough = (np.bincount(users[inside], minlength=users.max() + 1) >= k)[users]
        enough &= (np.bincount(items[inside], minlength=items.max() + 1) >= k)[items]
        if not (inside & ~enough).any():
            break
        inside &= enough
    return inside


def _typed(interactions: pl.LazyFrame) -> pl.LazyFrame:
    """The four columns in their types; a column without a single value counts as absent."""
    types = {"user": pl.String, "item": pl.String, "rating": pl.Float64, "timestamp": pl.Int64}
    present = interactions.collect_schema().names()
    typed = interactions.select(pl.col(name).cast(kind) for name, kind in types.items() if name in present)
    optional = [name for name in ("rating", "timestamp") if name in present]
    if not optional:
        return typed
    values = typed.select(pl.col(optional).count()).collect().row(0, named=True)
    return typed.drop([name for name in optional if values[name] == 0])


def _present(column: str) -> pl.Expr:
    return pl.col(column).is_not_null() & (pl.col(column).str.strip_chars() != "")


def _numbered(rows: pl.DataFrame) -> tuple[pl.DataFrame, list[str], list[str]]:
    """Replace ids by indices in the order of first appearance in the source."""
    ids: list[list[str]] = []
    for column in ("user", "item"):
        order = rows.sort("row")[column].unique(maintain_order=True)
        rows = rows.with_columns(
            pl.col(column).replace_strict(order, pl.Series(range(len(order)), dtype=pl.Int32)).alias(column)
        )
        ids.append(order.to_list())
    return rows, ids[0], ids[1]
