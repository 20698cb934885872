"""Times as seconds since 1970, each value by itself: numbers by their size, text by its form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from glta_cli.plugin import counted
from glta_datasets.ids import BLANKS

# A number is in seconds up to here, in thousandths up to a thousand times as much, and so on: the last second of the
# year 9999, which databases write for ever, and milliseconds of 1978, from which there is no log.
MOST_SECONDS: Final = 253_402_300_799
UNITS: Final = ("seconds", "milliseconds", "microseconds", "nanoseconds")
_SCALES: Final = (1, 1_000, 1_000_000, 1_000_000_000)

# The first second after the year 2100: later ones are mistakes.
LATEST: Final = 4_133_980_800

# Year, month and day; perhaps the time of day, seconds, a fraction, and an offset from UTC.
_DATE: Final = (
    r"^(\d{4})[-/](\d{1,2})[-/](\d{1,2})"
    r"(?:(?:[Tt]|\s+)(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:[.,]\d+)?)?\s*([Zz]|UTC|GMT|[+-](?:0\d|1[0-4])(?::?[0-5]\d)?)?)?$"
)
# Before this second of 1971 there is no log: days, years and counts end up there.
_EARLIEST: Final = 31_536_000
# Numbers such as 20200913 are days to a person and a morning of 1970 to a computer.
_DAY_NUMBERS: Final = (19_000_101, 21_001_231)


@dataclass(frozen=True)
class Times:
    """Times read from a column.

    Attributes:
        seconds: Int64, since 1970; null where nothing is written or what is written is no time.
        warnings: sentences on units that are mixed, and on years that no log is from.
    """

    seconds: pl.Series
    warnings: list[str]


def times_of(values: pl.Series) -> Times:
    """Seconds since 1970 of numbers of seconds, milliseconds, microseconds or nanoseconds, of dates, or of text.

    The unit of a number is told by its size, each by itself; text is a number, or a date such as `2020-09-13`,
    `2020-09-13 12:26`, `2020-09-13T12:26:40.5Z` or `2020-09-13 12:26:40+02:00`. Without an offset it is taken as UTC.
    """
    if values.dtype == pl.Date or isinstance(values.dtype, pl.Datetime):
        seconds = values.cast(pl.Datetime("us")) if values.dtype == pl.Date else values
        seconds = seconds.dt.epoch("us") // 1_000_000
        return Times(seconds, absurd_years(seconds))
    if values.dtype == pl.String:
        return _of_texts(values.str.strip_chars(BLANKS))
    seconds, warnings = _of_numbers(_whole(values))
    if values.dtype == pl.Float32:
        warnings.append("times are 32-bit floats, which are minutes off: store them as integers or 64-bit floats")
    return Times(seconds, warnings + absurd_years(seconds))


def absurd_years(seconds: pl.Series) -> list[str]:
    """Sentences on times that lie before 1971 or after 2100."""
    least, most = seconds.min(), seconds.max()
    if least is None or (least >= _EARLIEST and most < LATEST):  # type: ignore[operator]
        return []
    told = []
    early, late = int((seconds < 0).sum()), int((seconds >= LATEST).sum())
    if early or late:
        parts = [f"{early:,} before 1970"] * bool(early) + [f"{late:,} after 2100"] * bool(late)
        wrong = seconds.filter((seconds < 0) | (seconds >= LATEST))
        told.append(
            f"times lie {' and '.join(parts)}, such as {_shown(int(wrong[0]))}: they are kept as they are written"
        )
    if zeros := int((seconds == 0).sum()):
        told.append(
            f"{counted(zeros, 'time is', 'times are')} 0, the first second of 1970: "
            f"leave {'it' if zeros == 1 else 'them'} empty where the time is not known"
        )
    first_year = seconds.filter((seconds > 0) & (seconds < _EARLIEST))
    if len(first_year) and not _day_numbers(least, most):  # type: ignore[arg-type]
        told.append(
            f"{counted(len(first_year), 'time lies', 'times lie')} in 1970, such as {_shown(int(first_year[0]))}: "
            f"{'is it a day or a year' if len(first_year) == 1 else 'are they days or years'}? "
            "Numbers are read as seconds since 1970; dates such as 2020-09-13 are read too"
        )
    return told


def _shown(seconds: int) -> str:
    try:
        moment = np.datetime64(seconds, "s")
        # The least number of 64 bits stands for no time.
        return str(seconds) if np.isnat(moment) else str(moment).replace("T", " ")
    except (ValueError, OverflowError):
        return str(seconds)


def _whole(values: pl.Series) -> pl.Series:
    numbers = values.cast(pl.Int64, strict=False) if not values.dtype.is_float() else None
    if numbers is None or numbers.null_count() > values.null_count():
        # Rounded down, as seconds are counted: half a second before 1970 is the last second of 1969.
        numbers = values.cast(pl.Float64, strict=False).floor().cast(pl.Int64, strict=False)
    return numbers


def _of_numbers(numbers: pl.Series) -> tuple[pl.Series, list[str]]:
    least, most = numbers.min(), numbers.max()
    if least is None:
        return numbers, []
    if least >= -MOST_SECONDS and most <= MOST_SECONDS:  # type: ignore[operator]
        return numbers, _day_numbers(least, most)  # type: ignore[arg-type]
    size = numbers.abs().fill_null(0)
    seconds, counts = numbers, {"seconds": int((numbers.abs() <= MOST_SECONDS).sum())}
    for unit, scale in zip(UNITS[1:], _SCALES[1:], strict=True):
        beyond = MOST_SECONDS * (scale // 1000)
        chosen = (size > beyond) if scale == _SCALES[-1] else (size > beyond) & (size <= beyond * 1000)
        counts[unit] = int(chosen.sum())
        if counts[unit]:
            seconds = (numbers // scale).zip_with(chosen, seconds)
    used = [f"{unit} ({count:,})" for unit, count in counts.items() if count]
    if len(used) < 2:
        return seconds, []
    return seconds, [f"times are mixed: {' and '.join(used)}; each was read in the unit that its size tells"]


def _day_numbers(least: int, most: int) -> list[str]:
    if not _DAY_NUMBERS[0] <= least <= most <= _DAY_NUMBERS[1] or most % 100 > 31 or most // 100 % 100 > 12:
        return []
    return [f"times such as {most} look like days, but are read as seconds since 1970: write 2020-09-13 for a day"]


def _of_texts(texts: pl.Series) -> Times:
    numbers = texts.cast(pl.Int64, strict=False)
    if numbers.null_count() > texts.null_count():
        numbers = numbers.zip_with(numbers.is_not_null(), _whole(texts))
    seconds, warnings = _of_numbers(numbers)
    left = numbers.is_null() & texts.is_not_null()
    if left.any():
        seconds = seconds.zip_with(~left, _of_dates(texts.filter(left)).gather(_places(left)))
    return Times(seconds, warnings + absurd_years(seconds))


def _places(chosen: pl.Series) -> pl.Series:
    """For each row its place among the chosen ones; for the others any place there is."""
    return (chosen.cast(pl.Int64).cum_sum() - 1).clip(0)


def _of_dates(texts: pl.Series) -> pl.Series:
    """Int64 seconds; null where the text is no date."""
    parts = texts.str.extract_groups(_DATE).struct.unnest()
    year, month, day, hour, minute, second, offset = (pl.col(name) for name in parts.columns)
    clock = [part.fill_null("00").str.zfill(2) for part in (hour, minute, second)]
    written = pl.concat_str(year, month, day, *clock, separator="-")
    digits = offset.str.extract_all("[0-9]").list.join("")
    east = digits.str.slice(0, 2).cast(pl.Int64, strict=False) * 3600
    east += digits.str.slice(2, 2).cast(pl.Int64, strict=False).fill_null(0) * 60
    ahead = pl.when(offset.str.starts_with("-")).then(-east).otherwise(east).fill_null(0)
    moment = written.str.to_datetime("%Y-%m-%d-%H-%M-%S", time_unit="us", strict=False).dt.epoch("us") // 1_000_000
    return parts.select((moment - ahead).alias(texts.name)).to_series()
