"""What came in: the account of a source, as the manifest of its prepared dataset keeps it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import polars as pl

from glta_cli.core.counts import counted
from glta_cli.data.cleaning import DUPLICATE, LOW_RATING, CleanTable
from glta_cli.data.item_columns import KeptColumns
from glta_cli.data.time_span import TimeSpan, day, moment, time_span
from glta_cli.plugin import RawDataset, SeenFile

# As a loader calls the role of a column that is kept to choose items by.
FILTER = "filter"


def examples_of(raw: RawDataset, table: CleanTable) -> dict[str, str]:
    """For reasons rows were dropped for, where the first such row stands and what it looks like."""
    found = {}
    # To find a line the file may be read again, which is done for what is lost, and not for what was asked for.
    for reason, row in table.first_dropped.items():
        if reason == LOW_RATING:
            user, item, rating = raw.interactions.select("user", "item", "rating").slice(row, 1).collect().row(0)
            found[reason] = f"user {user}, item {item}, rating {rating:g}"
        elif raw.place_of is not None:
            found[reason] = raw.place_of(row)
    if table.first_repeated is not None:
        user, item = table.first_repeated
        found[DUPLICATE] = f"user {user}, item {item}"
    return found | raw.examples


def span_of(raw: RawDataset) -> TimeSpan | None:
    """From when to when the interactions reach; None where they have no times, or such as are no dates."""
    if "timestamp" not in raw.interactions.collect_schema().names():
        return None
    return time_span(raw.interactions.select(pl.col("timestamp").cast(pl.Int64)).collect()["timestamp"], time.time())


def far_warnings(raw: RawDataset, span: TimeSpan | None) -> list[str]:
    """A sentence on times that lie far from the others, with the first of them."""
    if span is None or not span.far:
        return []
    seconds = raw.interactions.select("timestamp").collect()["timestamp"]
    shown = [
        moment(int(seconds[row])) + (f" ({raw.place_of(row)})" if raw.place_of is not None else "")
        for row in span.far_rows
    ]
    return [
        f"{counted(span.far, 'time lies', 'times lie')} far from the others, "
        f"which are {day(span.first)} to {day(span.last)}: "
        f"{', '.join(shown)}{' and so on' if span.far > len(shown) else ''}; they are kept as they are"
    ]


def account_of(
    raw: RawDataset,
    *,
    read: int,
    kept: int,
    lost: int,
    span: TimeSpan | None,
    items: Mapping[str, int],
    columns: KeptColumns,
) -> dict[str, Any]:
    """The account in plain values.

    Args:
        read: rows of the source.
        kept: interactions of the prepared dataset.
        lost: rows of which nothing is kept, though nobody asked for that.
        items: counts of items, by what is said of them.
        columns: those kept to choose items by.
    """
    times = None
    if span is not None:
        times = {"first": moment(span.first), "last": moment(span.last), "far": span.far}
    return {
        "files": [_plain(file, columns) for file in raw.files],
        "rows": {"read": read, "kept": kept, "lost": lost},
        "times": times,
        "items": dict(items),
        "columns": {"kept": columns.kinds, "left_out": columns.left_out},
    }


def in_one_line(account: Mapping[str, Any]) -> str:
    """Rows read and kept, the share that is lost, and from when to when: for the log of a run."""
    rows, times = account["rows"], account["times"]
    told = f"{counted(rows['read'], 'row')} read, {rows['kept']:,} kept"
    if rows["lost"]:
        told += f", {rows['lost'] / rows['read']:.1%} could not be used"
    if times is not None:
        first, last = (times[name].partition("T")[0] for name in ("first", "last"))
        told += f"; {first} to {last}"
    return told


def _plain(file: SeenFile, columns: KeptColumns) -> dict[str, Any]:
    told = [
        # What is not kept after all is ignored.
        {"name": one.name, "role": None if one.role == FILTER and one.name in columns.left_out else one.role}
        for one in file.columns
    ]
    return {
        "file": file.path.name,
        "form": dict(file.form),
        "rows": file.rows,
        "columns": [{**each, "example": one.example} for each, one in zip(told, file.columns, strict=True)],
    }
