"""What a loader read becomes a clean table: every row that leaves is counted by its reason."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from glta_cli.core.errors import InputError
from glta_cli.data.clean_table import CleanTable as CleanTable
from glta_cli.data.codes import Codes, categories, codes_in, looked_up, order_of_appearance
from glta_cli.data.codes import codes_of as codes_of
from glta_cli.data.codes import number_in_order as number_in_order
from glta_cli.data.kcore import kcore_mask as kcore_mask
from glta_cli.data.repeated_pairs import once_each
from glta_cli.data.sorting import stable_order
from glta_cli.data.splits import SPLITS
from glta_cli.data.user_blocks import places_by_user

# Reasons for which a row leaves without being lost: it was asked for, or says nothing that is not kept.
DUPLICATE: Final = "duplicate"
EARLIER_PART: Final = "in an earlier part of the split"
OUTSIDE_CORE: Final = "k-core"
LOW_RATING: Final = "rating below min_rating"


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
    complete, dropped, first_dropped = _complete(rows, min_rating, keeps_unrated=keeps_unrated)
    users, items = codes_in(rows["user"]), codes_in(rows["item"])
    ids, rows = rows.select("user", "item"), rows.drop("user", "item")

    once = once_each(rows, users, items, complete)
    kept, weighted = once.kept, once.weights is not None
    counted = {DUPLICATE: 0 if weighted else once.repeated, EARLIER_PART: once.elsewhere}
    dropped |= {reason: count for reason, count in counted.items() if count}
    again = int((kept != complete).argmax()) if DUPLICATE in dropped and "split" not in rows.columns else None
    if once.weights is not None:
        rows = rows.with_columns(weight=pl.Series(once.weights))
    if once.seen is not None:
        rows = rows.with_columns(seen=pl.Series(once.seen))
    if kcore > 1:
        inside = kcore_mask(users[kept], items[kept], kcore)
        if not inside.all():
            dropped[OUTSIDE_CORE] = int((~inside).sum())
            kept[kept] = inside

    weight_of_all = _weight_of_all(rows, kept)
    user_numbers, first_of_users = order_of_appearance(users, kept)
    item_numbers, first_of_items = order_of_appearance(items, kept)
    rows = _without_what_says_nothing(rows, kept)
    order, indptr = _user_after_user(rows, users, kept, user_numbers)
    return CleanTable(
        rows,
        order,
        indptr,
        looked_up(item_numbers, looked_up(items, order)),
        ids["user"].gather(pl.Series(first_of_users)).cast(pl.String),
        ids["item"].gather(pl.Series(first_of_items)).cast(pl.String),
        dropped,
        first_dropped=first_dropped,
        first_repeated=None if again is None else (ids["user"][again], ids["item"][again]),
        added_up=once.repeated if weighted else 0,
        weight_of_all=weight_of_all,
    )


def incomplete_rows(
    interactions: pl.LazyFrame, *, keeps_unrated: bool = False
) -> tuple[dict[str, int], dict[str, int]]:
    """By reason, how many rows lack what `clean` needs of an interaction, and which row of the source is the first."""
    _, dropped, first = _complete(_typed(interactions), None, keeps_unrated=keeps_unrated)
    return dropped, first


def _typed(interactions: pl.LazyFrame) -> pl.DataFrame:
    """The columns in their types, ids as categories; an optional one without a single value counts as absent."""
    types: dict[str, type[pl.DataType] | pl.DataType] = {
        "rating": pl.Float64,
        "timestamp": pl.Int64,
        "split": pl.Enum(SPLITS),
        "weight": pl.Float64,
        "seen": pl.Boolean,
    }
    schema = interactions.collect_schema()
    ids = [
        pl.col(name) if isinstance(schema[name], pl.Categorical) else pl.col(name).cast(pl.String).cast(categories())
        for name in ("user", "item")
    ]
    typed = [pl.col(name).cast(kind) for name, kind in types.items() if name in schema]
    rows = interactions.select(*ids, *typed).collect()
    optional = rows.columns[2:]
    return rows.drop(name for name in optional if rows[name].null_count() == rows.height)


def _complete(
    rows: pl.DataFrame, min_rating: float | None, *, keeps_unrated: bool
) -> tuple[NDArray[np.bool_], dict[str, int], dict[str, int]]:
    """Which rows are without gaps and low ratings [n]; by reason how many others there are, and the first of them.

    A row counts under its first reason.
    """
    conditions = {f"missing {name}": _present(rows[name]) for name in ("user", "item")}
    if "rating" in rows.columns and not (keeps_unrated and min_rating is None):
        conditions["missing rating"] = rows["rating"].is_not_null() & rows["rating"].is_not_nan()
    if "timestamp" in rows.columns:
        conditions["missing timestamp"] = rows["timestamp"].is_not_null() if rows["timestamp"].has_nulls() else None
    if "weight" in rows.columns:
        conditions["weight not positive"] = (rows["weight"] > 0) & rows["weight"].is_finite()
    if min_rating is not None:
        conditions[LOW_RATING] = rows["rating"] >= min_rating
    kept = np.ones(rows.height, dtype=bool)
    dropped: dict[str, int] = {}
    first: dict[str, int] = {}
    for reason, met in conditions.items():
        if met is None or met.all(ignore_nulls=False):
            continue
        still = kept & met.fill_null(False).to_numpy()
        if still.sum() < kept.sum():
            dropped[reason] = int(kept.sum() - still.sum())
            first[reason] = int((kept & ~still).argmax())
        kept = still
    return kept, dropped, first


def _present(ids: pl.Series) -> pl.Series | None:
    """In which rows there is an id [n]; None where there is one in all."""
    kinds = ids.unique()
    blank = kinds.filter(kinds.cast(pl.String).str.strip_chars() == "")
    if not ids.has_nulls() and not len(blank):
        return None
    present = np.ones(int(codes_in(kinds).max(initial=0)) + 1, dtype=np.bool_)
    present[blank.to_physical().to_numpy()] = False
    return pl.Series(looked_up(present, codes_in(ids))) & ids.is_not_null()


def _user_after_user(
    rows: pl.DataFrame, users: Codes, kept: NDArray[np.bool_], numbers: NDArray[np.int32]
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """The places of the rows that are kept, each user's in order of time, and where each user's begin [U + 1].

    Args:
        users: code of each row's user [n].
        numbers: of each code, the index of the user, -1 where none of its rows is kept.
    """
    order = np.empty(int(np.count_nonzero(kept)), dtype=np.uint32)
    counts = np.zeros(int(numbers.max(initial=-1)) + 1, dtype=np.int64)
    times = rows["timestamp"] if "timestamp" in rows.columns else None
    start = 0
    for places in places_by_user(users, kept, "order by user and time", numbers):
        if times is not None:
            places = places[stable_order(times.gather(pl.Series(places)).to_numpy())]
        indices = looked_up(numbers, users[places])
        order[start : start + len(places)] = places[stable_order(indices)]
        counts += np.bincount(indices, minlength=len(counts))
        start += len(places)
    indptr = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=indptr[1:])
    return order, indptr


def _weight_of_all(rows: pl.DataFrame, kept: NDArray[np.bool_]) -> float:
    """What every row counts for; one where there are no weights, or no one weight of all."""
    if "weight" not in rows.columns or not kept.any():
        return 1.0
    weights = rows["weight"].to_numpy()[kept]
    return float(weights[0]) if weights.min() == weights.max() else 1.0


def _without_what_says_nothing(rows: pl.DataFrame, kept: NDArray[np.bool_]) -> pl.DataFrame:
    """Without weights that are all the same, and without `seen` where everything is."""
    says = {
        "weight": "weight" in rows.columns and rows["weight"].filter(pl.Series(kept)).n_unique() > 1,
        "seen": "seen" in rows.columns and not rows["seen"].filter(pl.Series(kept)).all(),
    }
    return rows.select(name for name in rows.columns if says.get(name, True))
