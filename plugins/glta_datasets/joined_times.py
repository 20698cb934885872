"""Times whose day stands in one column and whose hour in another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import polars as pl

from glta_datasets.ids import BLANKS
from glta_datasets.records import Records
from glta_datasets.roles import plain_name
from glta_datasets.seen_files import example_of

_DAYS: Final = ("date", "day", "datum", "tag", "orderdate", "eventdate", "purchasedate")
_HOURS: Final = ("time", "clock", "hour", "zeit", "uhrzeit", "ordertime", "eventtime", "purchasetime")
_CLOCK: Final = r"^\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?\s*([AaPp]\.?[Mm]\.?)?$"


def date_and_time(frame: pl.DataFrame) -> tuple[str, str] | None:
    """The columns of days and of hours, where there is one of each and neither says both; else None."""
    hours = [name for name in frame.columns if plain_name(name) in _HOURS and _is(frame[name], clock=True)]
    days = [name for name in frame.columns if plain_name(name) in _DAYS and _is(frame[name], clock=False)]
    return (days[0], hours[0]) if len(days) == len(hours) == 1 else None


def may_be_joined(name: str) -> bool:
    """Whether a column may be one of them, by its name."""
    return plain_name(name) in (*_DAYS, *_HOURS)


def joined_name(columns: Sequence[str]) -> str:
    """What the column of joined times is called."""
    return " ".join(columns)


def with_joined_times(records: Records, columns: Sequence[str]) -> Records:
    """With one column more, of what stands in these behind one another; null where the first is."""
    first, *others = (records.frame[name].cast(pl.String).str.strip_chars(BLANKS).alias(name) for name in columns)
    told = pl.DataFrame([first.alias("0"), *(each.alias(str(n)) for n, each in enumerate(others, 1))])
    written = pl.concat_str(pl.all().replace("", None), separator=" ", ignore_nulls=True)
    joined = told.select(pl.when(pl.col("0") != "").then(written)).to_series().alias(joined_name(columns))
    return replace(records, frame=records.frame.hstack([joined]))


def _is(values: pl.Series, *, clock: bool) -> bool:
    """Whether the first value is an hour, or a day without one."""
    example = example_of(values)
    if example is None:
        return False
    of_clock = pl.Series([example]).str.contains(_CLOCK).item()
    return bool(of_clock) if clock else ":" not in example
