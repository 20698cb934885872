"""From when to when a log reaches, and which of its times lie far from all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from glta_cli.data.codes import pieces

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
    latest = seconds.max()
    if latest is None or latest < _FIRST_DATE:  # type: ignore[operator]
        return None
    low, high = _together(seconds)
    # Clocks of shops run ahead, and a day's files may be stamped with its end.
    high = min(high, int(now) + _DAY) if low <= now else high
    if low <= seconds.min() and latest <= high:  # type: ignore[operator]
        return TimeSpan(int(seconds.min()), int(latest))  # type: ignore[arg-type]
    is_near = seconds.is_between(low, high)
    near = seconds.filter(is_near)
    rows = (~is_near.fill_null(True)).arg_true()
    first_of_days = (seconds[rows] // _DAY).is_first_distinct()
    shown = tuple(rows.filter(first_of_days).head(_SHOWN))
    return TimeSpan(int(near.min()), int(near.max()), len(rows), shown)  # type: ignore[arg-type]


def _together(seconds: pl.Series) -> tuple[int, int]:
    """The least and the greatest of the times around the median that no silence parts."""
    bins, counts = _counted_bins(seconds)
    middle = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2))
    parted = np.flatnonzero(np.diff(bins) > _LONGEST_SILENCE // _BIN)
    before, after = parted[parted < middle], parted[parted >= middle]
    low = bins[before[-1] + 1] if len(before) else bins[0]
    high = bins[after[0]] if len(after) else bins[-1]
    return int(low) * _BIN, (int(high) + 1) * _BIN - 1


def _counted_bins(seconds: pl.Series) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The quarters of a year in which there are times, ascending, and how many are in each."""
    quarters, counts = [], []
    for piece in pieces(len(seconds)):
        in_piece = np.unique(seconds[piece].drop_nulls().to_numpy() // _BIN, return_counts=True)
        quarters.append(in_piece[0])
        counts.append(in_piece[1])
    bins, place = np.unique(np.concatenate(quarters), return_inverse=True)
    return bins, np.bincount(place, weights=np.concatenate(counts)).astype(np.int64)


def day(seconds: int) -> str:
    """The day of a time, in ISO 8601 and UTC."""
    return moment(seconds).partition("T")[0]


def moment(seconds: int) -> str:
    """A time in ISO 8601 and UTC, such as `2020-09-13T12:26:40Z`; beyond years of four digits, the number itself."""
    if not -62_135_596_800 <= seconds <= 253_402_300_799:
        return str(seconds)
    return f"{np.datetime64(seconds, 's')}Z"
