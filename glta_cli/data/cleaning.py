"""What a loader read becomes a clean table: every row that leaves is counted by its reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from glta_cli.core.errors import InputError
from glta_cli.data.sorting import stable_order
from glta_cli.data.splits import SPLITS

# Reasons for which a row leaves without being lost: it was asked for, or says nothing that is not kept.
DUPLICATE: Final = "duplicate"
EARLIER_PART: Final = "in an earlier part of the split"
OUTSIDE_CORE: Final = "k-core"
LOW_RATING: Final = "rating below min_rating"


@dataclass(frozen=True)
class CleanTable:
    """Interactions without gaps or duplicates, by index, and the ids behind the indices.

    Attributes:
        interactions: `user` and `item` (Int32 indices), `rating` (Float64), `timestamp` (Int64 seconds) and
            `split` (one of `SPLITS`) where the source has them; `weight` (Float32) and `seen` (Boolean) where they
            are not the same everywhere, 1 and true; user after user, each user's rows in order of time, else of the
            source.
        user_ids: original ids; users are numbered in the order of their first kept row in the source.
        item_ids: the same for items; an item without an interaction is not in the catalogue.
        dropped: rows removed, by reason; reasons that removed none are left out.
        first_dropped: for reasons of incomplete rows, which row of the source is the first of them.
        first_repeated: user and item of the first duplicate; None where there is none.
        added_up: rows that are no interaction of their own, since their weight was added to another one's.
        weight_of_all: what every interaction counts for where `weight` is left out, being the same everywhere.
    """

    interactions: pl.DataFrame
    user_ids: list[str]
    item_ids: list[str]
    dropped: dict[str, int] = field(default_factory=dict)
    first_dropped: dict[str, int] = field(default_factory=dict)
    first_repeated: tuple[str, str] | None = None
    added_up: int = 0
    weight_of_all: float = 1.0


def clean(
    interactions: pl.LazyFrame, *, min_rating: float | None, kcore: int, keeps_unrated: bool = False
) -> CleanTable:
    """Drop incomplete rows, low ratings and duplicates, then everything outside the k-core.

    Of several interactions of one user with one item the first in time counts, else the first in the source; where
    the source comes divided, the first of those in the earliest part: what is learnt from is not tested.

    Where rows have weights, those of one user with one item add up to one interaction, and none is a duplicate. It
    stands where the first of the heaviest rows stood: a purchase that a view came before, at the time of the purchase.
    It is seen where any of its rows is.

    Args:
        interactions: columns `user` and `item`, optionally `rating`, `timestamp`, `split`, `weight` and `seen` (see
            `RawDataset`).
        min_rating: least rating kept; None keeps all.
        kcore: least number of interactions of every user and item; 0 and 1 keep all.
        keeps_unrated: whether rows without a rating stay where others have one, unless a least rating is asked for.

    Raises:
        InputError: a least rating, but no ratings.
    """
    rows = _typed(interactions)
    if min_rating is not None and "rating" not in rows.columns:
        empty = "rating" in interactions.collect_schema().names()
        keep = "--min-rating none keeps all interactions"
        raise InputError(
            f"min_rating {min_rating} cannot be applied: there are no ratings"
            + (" in the column of ratings" if empty else ""),
            location="dataset.min_rating",
            hint=keep if empty else f"{keep}; or name the column of ratings (table: -o rating=COLUMN)",
        )
    rows, dropped, first_dropped = _complete(rows, min_rating, keeps_unrated=keeps_unrated)
    users, items = codes_of(rows, "user", "item")
    by_time = stable_order(rows["timestamp"].to_numpy()) if "timestamp" in rows.columns else np.arange(rows.height)
    parts = rows["split"].to_physical().to_numpy().astype(np.int64) if "split" in rows.columns else None

    first = by_time
    if "weight" in rows.columns:
        first = first[np.argsort(-rows["weight"].to_numpy()[first], kind="stable")]
    if parts is not None:
        first = first[stable_order(parts[first])]
    kept = np.ones(rows.height, dtype=bool)
    kept[first[_repeated(users[first], items[first])]] = False
    # Of a divided source, the rows that repeat one of their own part.
    repeated = int((~kept).sum()) if parts is None else len(_repeated(users, items * len(SPLITS) + parts))
    counted = {
        DUPLICATE: 0 if "weight" in rows.columns else repeated,
        EARLIER_PART: int((~kept).sum()) - repeated,
    }
    dropped |= {reason: count for reason, count in counted.items() if count}
    again = int(kept.argmin()) if DUPLICATE in dropped and parts is None else None
    rows = _taken_together(rows, users, items, parts)
    inside = kcore_mask(users[kept], items[kept], kcore)
    if not inside.all():
        dropped[OUTSIDE_CORE] = int((~inside).sum())
        kept[kept] = inside

    left = np.flatnonzero(kept)
    users[left], first_of_users = number_in_order(users[left])
    items[left], first_of_items = number_in_order(items[left])
    by_time = by_time[kept[by_time]]
    order = by_time[stable_order(users[by_time])]
    indices = {"user": users[order].astype(np.int32), "item": items[order].astype(np.int32)}
    table = pl.DataFrame(indices).hstack(rows.drop("user", "item")[order])
    return CleanTable(
        _without_what_says_nothing(table),
        rows["user"][left[first_of_users]].to_list(),
        rows["item"][left[first_of_items]].to_list(),
        dropped,
        first_dropped=first_dropped,
        first_repeated=None if again is None else (rows["user"][again], rows["item"][again]),
        added_up=repeated if "weight" in rows.columns else 0,
        weight_of_all=_weight_of_all(table),
    )


def incomplete_rows(
    interactions: pl.LazyFrame, *, keeps_unrated: bool = False
) -> tuple[dict[str, int], dict[str, int]]:
    """By reason, how many rows lack what `clean` needs of an interaction, and which row of the source is the first."""
    _, dropped, first = _complete(_typed(interactions), None, keeps_unrated=keeps_unrated)
    return dropped, first


def kcore_mask(users: NDArray[np.integer], items: NDArray[np.integer], k: int) -> NDArray[np.bool_]:
    """Which interactions are left when users and items with fewer than `k` are removed until none is.

    Args:
        users: user indices [n].
        items: item indices [n].

    Returns:
        bool [n]; the largest set in which every user and every item has at least `k` interactions.
    """
    count = remaining = len(users)
    rows, inside = np.arange(count), np.ones(count, dtype=bool)
    user_counts, item_counts = np.bincount(users), np.bincount(items)
    while True:
        too_few = (user_counts < k)[users]
        too_few |= (item_counts < k)[items]
        leaving = np.flatnonzero(too_few & inside)
        if not len(leaving):
            break
        inside[leaving] = False
        remaining -= len(leaving)
        user_counts -= np.bincount(users[leaving], minlength=len(user_counts))
        item_counts -= np.bincount(items[leaving], minlength=len(item_counts))
        if 2 * remaining < len(inside):
            # The many rounds that take only a few rows need not look at those that left long ago.
            staying = np.flatnonzero(inside)
            rows, users, items, inside = rows[staying], users[staying], items[staying], inside[staying]
    kept = np.zeros(count, dtype=bool)
    kept[rows[inside]] = True
    return kept


def codes_of(rows: pl.DataFrame, *columns: str) -> list[NDArray[np.int64]]:
    """A number for each id of a column, the same for equal ones; int64 [n] for each column of strings."""
    # Categories of their own: those of another column or dataset would leave gaps between the numbers.
    coded = rows.select(pl.col(name).cast(pl.Categorical(pl.Categories.random())).to_physical() for name in columns)
    return [column.to_numpy().astype(np.int64) for column in coded]


def number_in_order(codes: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Number codes anew, 0, 1, ... in the order in which they first appear.

    Args:
        codes: non-negative and not much larger than there are different ones [n].

    Returns:
        The numbers, int32 [n], and the place where each number first appears, int32 [K].
    """
    places = np.arange(len(codes), dtype=np.int32)
    first = np.full(codes.max(initial=-1) + 1, -1, dtype=np.int32)
    # Of several assignments to one element the last one stays: from behind, that is the first appearance.
    first[codes[::-1]] = places[::-1]
    appears = np.sort(first[first >= 0])
    numbers = np.empty_like(first)
    numbers[codes[appears]] = places[: len(appears)]
    return numbers[codes], appears


def _typed(interactions: pl.LazyFrame) -> pl.DataFrame:
    """The columns in their types; an optional one without a single value counts as absent."""
    types: dict[str, type[pl.DataType] | pl.DataType] = {
        "user": pl.String,
        "item": pl.String,
        "rating": pl.Float64,
        "timestamp": pl.Int64,
        "split": pl.Enum(SPLITS),
        "weight": pl.Float64,
        "seen": pl.Boolean,
    }
    present = interactions.collect_schema().names()
    rows = interactions.select(pl.col(name).cast(kind) for name, kind in types.items() if name in present).collect()
    optional = rows.columns[2:]
    return rows.drop(name for name in optional if rows[name].null_count() == rows.height)


def _complete(
    rows: pl.DataFrame, min_rating: float | None, *, keeps_unrated: bool
) -> tuple[pl.DataFrame, dict[str, int], dict[str, int]]:
    """The rows without gaps and low ratings; by reason how many others there are, and the first of them.

    A row counts under its first reason.
    """
    conditions = {"missing user": _present("user"), "missing item": _present("item")}
    if "rating" in rows.columns and not (keeps_unrated and min_rating is None):
        conditions["missing rating"] = pl.col("rating").is_not_null() & pl.col("rating").is_not_nan()
    if "timestamp" in rows.columns:
        conditions["missing timestamp"] = pl.col("timestamp").is_not_null()
    if "weight" in rows.columns:
        conditions["weight not positive"] = (pl.col("weight") > 0) & pl.col("weight").is_finite()
    if min_rating is not None:
        conditions[LOW_RATING] = pl.col("rating") >= min_rating
    kept = np.ones(rows.height, dtype=bool)
    dropped: dict[str, int] = {}
    first: dict[str, int] = {}
    for reason, met in rows.select(**conditions).to_dict().items():
        still = kept & met.fill_null(False).to_numpy()
        if still.sum() < kept.sum():
            dropped[reason] = int(kept.sum() - still.sum())
            first[reason] = int((kept & ~still).argmax())
        kept = still
    return rows if kept.all() else rows.filter(kept), dropped, first


def _present(column: str) -> pl.Expr:
    return pl.col(column).is_not_null() & (pl.col(column).str.strip_chars() != "")


def _repeated(users: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places of the pairs that stand before already [m]."""
    pairs = users * (items.max(initial=0) + 1) + items
    order = stable_order(pairs)
    pairs = pairs[order]
    return order[1:][pairs[1:] == pairs[:-1]]


def _taken_together(
    rows: pl.DataFrame, users: NDArray[np.int64], items: NDArray[np.int64], parts: NDArray[np.int64] | None
) -> pl.DataFrame:
    """Every row with the sum of the weights of its pair, and whether any row of the pair is seen.

    Args:
        users, items: of the rows, as numbers [n].
        parts: of a divided source [n]: weights add up within a part; None where it is whole.
    """
    pairs = users * (items.max(initial=0) + 1) + items
    if "weight" in rows.columns:
        sums = _sums_of_equal(pairs if parts is None else pairs * len(SPLITS) + parts, rows["weight"].to_numpy())
        largest = np.finfo(np.float32)
        rows = rows.with_columns(weight=pl.Series(sums.clip(largest.tiny, largest.max).astype(np.float32)))
    if "seen" in rows.columns:
        seen = _sums_of_equal(pairs, rows["seen"].fill_null(True).to_numpy().astype(np.float64))
        rows = rows.with_columns(seen=pl.Series(seen > 0))
    return rows


def _sums_of_equal(keys: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each row the sum of the values of all rows of its key [n]."""
    order = stable_order(keys)
    ordered = keys[order]
    groups = np.empty(len(keys), dtype=np.int64)  # 0, 1, ... of each row's key
    groups[order] = np.cumsum(np.diff(ordered, prepend=ordered[:1]) != 0)
    sums = np.asarray(np.bincount(groups, weights=values), dtype=np.float64)
    return sums[groups]


def _weight_of_all(rows: pl.DataFrame) -> float:
    """What every row counts for; one where there are no weights, or no one weight of all."""
    if "weight" not in rows.columns or rows.is_empty():
        return 1.0
    weights = rows["weight"].to_numpy()
    return float(weights[0]) if weights.min() == weights.max() else 1.0


def _without_what_says_nothing(rows: pl.DataFrame) -> pl.DataFrame:
    """Without weights that are all the same, and without `seen` where everything is."""
    says = {
        "weight": "weight" in rows.columns and rows["weight"].n_unique() > 1,
        "seen": "seen" in rows.columns and not rows["seen"].all(),
    }
    return rows.select(name for name in rows.columns if says.get(name, True))
