"""Times as people write them: day and month in either order, and a form that somebody names."""

from __future__ import annotations

import re
from typing import Final

import polars as pl

from glta_cli.plugin import InputError
from glta_datasets.ids import BLANKS, ids_of
from glta_datasets.times import Times, absurd_years, times_of

# Two numbers and a year; perhaps the time of day, seconds, a fraction, and the half of the day.
_DAY_AND_MONTH: Final = (
    r"^(\d{1,2})([./-])(\d{1,2})([./-])(\d{4})"
    r"(?:[Tt, ]\s*(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:[.,]\d+)?)?\s*([AaPp])?(?:\.?[Mm]\.?)?)?$"
)
_MONTHS: Final = 12
_OPTION: Final = "dataset.options.timestamp_format"


def table_times(values: pl.Series, *, place: str, pattern: str | None = None) -> Times:
    """Seconds since 1970, as `times_of` gives them, and of dates with the day or the month in front of the year.

    `13.09.2020 12:32` has the day first. Between slashes or hyphens one number above 12 tells the order for the whole
    column. Without an offset a time is taken as UTC.

    Args:
        place: what to call the file in errors.
        pattern: how all times are written, as of strptime; then nothing else is read.

    Raises:
        InputError: no date of the column tells whether days or months come first, or they contradict each other.
    """
    if pattern is not None and not isinstance(values.dtype, pl.Date | pl.Datetime):
        return _by_pattern(values, pattern)
    times = times_of(values)
    left = times.seconds.is_null() & values.is_not_null()
    if values.dtype != pl.String or not left.any():
        return times
    rewritten = _year_first(values.filter(left).str.strip_chars(BLANKS), place)
    if rewritten is None:
        return times
    return times_of(values.scatter(left.arg_true(), rewritten))


def is_day_and_month(text: str) -> bool:
    """Whether a text is such a date."""
    return re.match(_DAY_AND_MONTH, text.strip(BLANKS)) is not None


def _by_pattern(values: pl.Series, pattern: str) -> Times:
    texts = values if values.dtype == pl.String else ids_of(values)
    try:
        moments = texts.str.strip_chars(BLANKS).str.to_datetime(pattern, time_unit="us", strict=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise InputError(
            f"'{pattern}' is no form of a time", location=_OPTION, hint="such as %d.%m.%Y %H:%M or %m/%d/%Y"
        ) from error
    seconds = moments.dt.epoch("us") // 1_000_000
    return Times(seconds, absurd_years(seconds))


def _year_first(texts: pl.Series, place: str) -> pl.Series | None:
    """Dates in the order year, month, day, other texts as they are; None where there is no such date."""
    parts = texts.str.extract_groups(_DAY_AND_MONTH).struct.unnest()
    first, mark, second, again, year, hour, minute, clock_second, half = (parts[name] for name in parts.columns)
    dated = (mark == again).fill_null(False)
    if not dated.any():
        return None
    first_number, second_number = first.cast(pl.Int64, strict=False), second.cast(pl.Int64, strict=False)
    dotted = dated & (mark == ".")
    month_first = _month_first(texts, first_number, second_number, dated & ~dotted, place)
    swapped = ~dotted if month_first else dated & False
    day, month = second.zip_with(swapped, first), first.zip_with(swapped, second)
    hours = hour.cast(pl.Int64, strict=False).fill_null(0)
    noon = half.str.to_lowercase()
    hours = (hours % 12 + 12 * (noon == "p").fill_null(False).cast(pl.Int64)).zip_with(half.is_not_null(), hours)
    day_of = pl.DataFrame([year.alias("y"), month.alias("m"), day.alias("d")]).select(
        pl.concat_str("y", "m", "d", separator="-")
    )
    clock = pl.DataFrame(
        [hours.cast(pl.String).alias("h"), minute.fill_null("00").alias("n"), clock_second.fill_null("00").alias("s")]
    ).select(pl.concat_str("h", "n", "s", separator=":"))
    written = day_of.to_series() + " " + clock.to_series()
    return written.zip_with(dated, texts)


def _month_first(texts: pl.Series, first: pl.Series, second: pl.Series, chosen: pl.Series, place: str) -> bool:
    """Whether months come first in the dates that do not tell it by their marks; one of them has to decide for all."""
    if not chosen.any():
        return False
    days_first = chosen & (first > _MONTHS).fill_null(False)
    months_first = chosen & (second > _MONTHS).fill_null(False)
    if days_first.any() != months_first.any():
        return bool(months_first.any())
    if days_first.any():
        shown = [texts.filter(order)[0] for order in (days_first, months_first)]
        problem = f"of the dates some have the day first and some the month: {shown[0]} and {shown[1]}"
    else:
        problem = f"dates such as {texts.filter(chosen)[0]} do not tell whether the day or the month comes first"
    raise InputError(problem, location=place, hint="say it: -o timestamp_format=%d/%m/%Y or %m/%d/%Y, with %H:%M")
