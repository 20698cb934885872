"""Columns of strings as numbers and times; what is written and is none is counted by its reason."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import polars as pl

from glta_cli.plugin import InputError
from glta_datasets.ids import BLANKS
from glta_datasets.records import BAD_RATING, BAD_TIME, TOO_MANY_FIELDS, Records, line_shown
from glta_datasets.times import Times, times_of

# What people and programs write where there is no value.
NO_VALUE: Final = ("", "-", "n/a", "na", "#n/a", "nil", "none", "null", "nan", "<na>", "nat")
# Each of these words has one of them.
LETTERS_OF_NO_VALUE: Final = "nN-"


def ratings(values: pl.Series) -> pl.Series:
    """Float64; null where the text is no number. `nan` is one; its row is dropped later, unrated."""
    numbers = values.cast(pl.Float64, strict=False)
    if values.dtype == pl.String and numbers.null_count() > values.null_count():
        numbers = values.str.strip_chars(BLANKS).cast(pl.Float64, strict=False)
    infinite = numbers.min() == -math.inf or numbers.max() == math.inf
    return numbers.set(numbers.is_infinite(), None) if infinite else numbers


def with_numbers(
    records: Records,
    *,
    place: str,
    expected: str,
    read_ratings: Callable[[pl.Series], pl.Series] = ratings,
    read_times: Callable[[pl.Series], Times] = times_of,
) -> tuple[Records, list[str]]:
    """Turn the strings of `rating` and `timestamp`, where present, into numbers and seconds.

    A row whose rating or time is written but is no number is lost; an empty field, or one that says so, such as
    `n/a`, stays as null.

    Args:
        expected: what a line should look like, for the hint.
        read_ratings: Float64 from what is written; null where that is no number.
        read_times: seconds from what is written; null where that is no time.

    Returns:
        The rows, with the losses of the records and of these rows; and sentences on odd times.

    Raises:
        InputError: there are no rows, or none is readable.
    """
    frame, losses = records.frame, records.losses
    if not records.read:
        raise InputError("there are no rows below the header", location=place, hint=expected)
    numbers: dict[str, pl.Series] = {}
    readable = pl.Series([True]).new_from_index(0, frame.height)
    warnings: list[str] = []
    for name, reason in (("rating", BAD_RATING), ("timestamp", BAD_TIME)):
        if name not in frame.columns:
            continue
        _require_values(frame[name], place)
        if name == "rating":
            numbers[name] = read_ratings(frame[name])
        else:
            times = read_times(frame[name])
            numbers[name] = times.seconds
            warnings += times.warnings
        if not numbers[name].has_nulls():
            continue
        bad = numbers[name].is_null() & ~_without_value(frame[name], numbers[name]) & readable
        if bad.any():
            row = int(bad.arg_max() or 0)
            losses.add(reason, int(bad.sum()), with_place(records, row, frame[name][row]))
            readable &= ~bad
    if not readable.any():
        if losses.counts.get(TOO_MANY_FIELDS, 0) == records.read:
            expected = "the first line has to name as many columns as the others have fields"
        raise InputError(f"no line can be read: {losses.told()}", location=f"{place}:1", hint=expected)
    kept = frame.with_columns(**numbers)
    if readable.all():
        return replace(records, frame=kept), warnings
    places, place_of = readable.arg_true(), records.place_of
    return replace(records, frame=kept[places], place_of=lambda row: place_of(int(places[row]))), warnings


def no_value(texts: pl.Expr) -> pl.Expr:
    """Where a text says that there is none."""
    return texts.str.strip_chars(BLANKS).str.to_lowercase().is_in(NO_VALUE)


def written(text: str | None) -> str | None:
    """A text, or None where it says that there is none."""
    return None if text is None or text.strip(BLANKS).lower() in NO_VALUE else text


def _require_values(column: pl.Series, place: str) -> None:
    kind = column.dtype
    if kind.is_nested() or kind in (pl.Boolean, pl.Time, pl.Duration, pl.Binary, pl.Object):
        what = "rating" if column.name == "rating" else "point in time"
        raise InputError(
            f"the column taken as {column.name} holds {kind}, which is no {what}",
            location=place,
            hint=f"name another with -o {column.name}=COLUMN, or store numbers, dates or text",
        )


def with_place(records: Records, row: int, written: object) -> str:
    """Where a row stands and what is wrong in it, as an example of a loss is written."""
    place = records.place_of(row)
    # A row of a table without lines shows the value that is wrong.
    return place if place.startswith("line") else line_shown(row + 1, str(written)).replace("line", "row", 1)


def _without_value(written: pl.Series, numbers: pl.Series) -> pl.Series:
    """Where nothing, or a word for nothing, is written."""
    if written.dtype.is_float():
        return written.is_null() | written.is_nan()
    if written.dtype != pl.String or numbers.null_count() == written.null_count():
        return written.is_null()
    return written.is_null() | written.to_frame().select(no_value(pl.first())).to_series()
