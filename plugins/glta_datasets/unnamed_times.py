"""The column of times in a log whose names tell of none: found by what stands in it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

import polars as pl

from glta_cli.plugin import InputError
from glta_datasets.dates import table_times
from glta_datasets.ids import BLANKS
from glta_datasets.numbers import no_value
from glta_datasets.roles import plain_name
from glta_datasets.seen_files import example_of
from glta_datasets.times import absurd_years

# What says so little that it is believed only of values that are times.
_SHORT_NAMES: Final = ("at", "on", "when", "dt", "day", "am", "tag", "wann")
# Of a column, the values that are looked at, and the share of them that has to be times.
_LOOKED_AT: Final = 1_000
_MOST: Final = 0.9


def unnamed_times(
    frame: pl.DataFrame, path: Path, taken: Collection[object], pattern: str | None
) -> tuple[str | None, list[str]]:
    """The only column that may be the time by its values, and sentences on what nobody's name says.

    Args:
        taken: columns that are something else.
        pattern: how times are written, where somebody named it.

    Returns:
        The column, None where there is none or several are as good; a name such as `at` decides among them.
    """
    free = [name for name in frame.columns if name not in taken]
    usual = [name for name in free if plain_name(name) in _SHORT_NAMES]
    certain = [name for name in usual if _are_times(frame[name], path, pattern, numbers=True)]
    if len(certain) == 1:
        return certain[0], []
    alike = [name for name in free if name in certain or _are_times(frame[name], path, pattern, numbers=False)]
    if len(alike) == 1:
        shown = f"'{alike[0]}', such as {example_of(frame[alike[0]])}"
        told = "is taken as the time by its values, as no column's name says time; if it is something else, take the "
        return alike[0], [f"{shown}, {told}lines timestamp and split out of the recipe"]
    return None, [
        f"'{name}', such as {example_of(frame[name])}, looks like times, not used: --timestamp {name}" for name in alike
    ]


def _are_times(values: pl.Series, path: Path, pattern: str | None, *, numbers: bool) -> bool:
    """Whether nearly all values are dates; with `numbers`, also whether they are numbers of seconds since 1971."""
    if values.dtype == pl.Date or isinstance(values.dtype, pl.Datetime):
        return values.null_count() < len(values)
    if values.dtype != pl.String and not (numbers and values.dtype.is_numeric()):
        return False
    if values.dtype == pl.String:
        texts = values.alias("text").to_frame().lazy().filter(~no_value(pl.col("text"))).head(_LOOKED_AT)
        looked = texts.collect()["text"].str.strip_chars(BLANKS)
    else:
        looked = values.drop_nulls().head(_LOOKED_AT)
    if not len(looked):
        return False
    try:
        seconds = table_times(looked, place=str(path), pattern=pattern).seconds
    except InputError:
        # Dates, of which none tells whether the day or the month comes first: that is asked once somebody names them.
        return True
    if numbers:
        return bool(seconds.is_not_null().mean() >= _MOST and not absurd_years(seconds))  # type: ignore[operator]
    written = seconds.is_not_null() & looked.cast(pl.Float64, strict=False).is_null()
    return bool(written.mean() >= _MOST)  # type: ignore[operator]
