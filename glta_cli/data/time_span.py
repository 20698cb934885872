"""From when to when a log reaches, and which of its times lie far from all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

# Seconds; a log with a longer silence has mistaken times on one of its sides.
_LONGEST_SILENCE: Final = 5 * 31_557_600
_BIN: Final = 31_557_600 // 4
_DAY: Final = 86_400
# Numbers that all lie before this second of 1971 order rows, and are no dates.
_FIRST_DATE: Final = 31_536_000
_SHOWN: Final = 3


@dataclass(frozen=True)
class TimeSpan:
    """The times of a log, in seconds since 1970.

    Attributes:
        first, last: of the times that lie together.
        far: how many others there are: beyond five years in which nothing happened, or more than a day ahead of now.
        far_rows: which rows the first of them are, with one row a day at most.
    """

    first: int
    last: int
    far: int = 0
    far_rows: tuple[int, ...] = ()


def time_span(seconds: pl.Series, now: float) -> TimeSpan | None:
    """The span of a column of times; None where it holds none, or numbers that are no dates.

    Args:
        seconds: integers since 1970, null where a row has no time [n].
        now: seconds since 1970.
    """
    known = seconds.drop_nulls().to_numpy()
    if not len(known) or known.max() < _FIRST_DATE:
        return None
    low, high = _together(known)
    # Clocks of shops run ahead, and a day's files may be stamped with its end.
    high = min(high, int(now) + _DAY) if low <= now else high
    near = known[(known >= low) & (known <= high)]
    if len(near) == len(known):
        return TimeSpan(int(near.min()), int(near.max()))
    rows = (~seconds.is_between(low, high).fill_null(True)).arg_true()
    first_of_days = (seconds[rows] // _DAY).is_first_distinct()
    return TimeSpan(int(near.min()), int(near.max()), len(rows), tuple(rows.filter(first_of_days).head(_SHOWN)))


def _together(seconds: NDArray[np.int64]) -> tuple[int, int]:
    """The least and the greatest of the times around the median that no silence parts."""
    counted = pl.Series("bin", seconds // _BIN).value_counts(name="count").sort("bin")
    bins, counts = counted["bin"].to_numpy(), counted["count"].to_numpy()
    middle = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2))
    parted = np.flatnonzero(np.diff(bins) > _LONGEST_SILENCE // _BIN)
    before, after = parted[parted < middle], parted[parted >= middle]
    low = bins[before[-1] + 1] if len(before) else bins[0]
    high = bins[after[0]] if len(after) else bins[-1]
    return int(low) * _BIN, (int(high) + 1) * _BIN - 1


def day(seconds: int) -> str:
    """The day of a time, in ISO 8601 and UTC."""
    return moment(seconds).partition("T")[0]


def moment(seconds: int) -> str:
    """A time in ISO 8601 and UTC, such as `2020-09-13T12:26:40Z`; beyond years of four digits, the number itself."""
    if not -62_135_596_800 <= seconds <= 253_402_300_799:
        return str(seconds)
    return f"{np.datetime64(seconds, 's')}Z"
