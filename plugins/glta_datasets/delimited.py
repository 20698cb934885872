"""Delimited text as columns of strings, and columns of strings as numbers and times."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import polars as pl

from glta_cli.plugin import InputError

UNREADABLE: Final = "unreadable line"
NUMBERS: Final[Mapping[str, type[pl.DataType]]] = {"rating": pl.Float64, "timestamp": pl.Int64}

# What people and programs write where there is no value.
NO_VALUE: Final = ("", "-", "n/a", "na", "#n/a", "nil", "none", "null")

# Seconds of the year 5138, milliseconds of 1973: no dataset of interactions is on the wrong side of both.
MOST_SECONDS: Final = 10**11


def as_utf8(content: bytes, place: str) -> bytes:
    """Bytes as they are, if they are UTF-8; raises `InputError` with the line that is not."""
    if content.isascii():
        return content
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"not UTF-8: byte 0x{content[error.start]:02x}",
            location=f"{place}:{line}",
            hint="convert the file, such as `iconv -f latin1 -t utf-8`",
        ) from error
    return content


def read_delimited(
    content: bytes,
    place: str,
    *,
    separator: str,
    columns: Sequence[str] | None = None,
    quotes: bool = True,
    types: Mapping[str, type[pl.DataType]] | None = None,
) -> tuple[pl.DataFrame, int]:
    """Parse UTF-8 text into string columns; a field that is not there is null.

    Args:
        place: what to call the text in errors.
        columns: names, where the text has no header line.
        quotes: whether double quotes enclose fields.
        types: of columns that may come as numbers; they come as strings if any of their fields is none.

    Returns:
        The rows, and how many lines were left out because they have too many fields.

    Raises:
        InputError: not UTF-8, or no header.
    """
    content = as_utf8(content, place).removeprefix(b"\xef\xbb\xbf")
    # Numbers at once are cheaper than strings that become numbers.
    for wanted in (types, None) if types else (None,):
        with suppress(pl.exceptions.PolarsError):
            frame = pl.read_csv(
                content,
                separator=separator,
                has_header=columns is None,
                new_columns=columns,
                schema_overrides={**dict.fromkeys(columns or (), pl.String), **(wanted or {})},
                quote_char='"' if quotes else None,
                infer_schema=False,
            )
            # A repeated name in a header comes back numbered: the slow reader tells of it.
            whole = frame.columns == list(columns) if columns else not any("_duplicated_" in c for c in frame.columns)
            if whole:
                return frame, 0
    return _read_ragged(content.decode("utf-8"), place, separator, columns, quotes)


def _read_ragged(
    text: str, place: str, separator: str, columns: Sequence[str] | None, quotes: bool
) -> tuple[pl.DataFrame, int]:
    """Line by line, for text that the fast reader refuses as a whole."""
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE)
    try:
        header = list(columns) if columns else next(reader)
        if len(set(header)) < len(header):
            raise InputError(f"two columns have one name: {', '.join(header)}", location=f"{place}:1")
        rows = []
        too_long = 0
        for row in reader:
            if len(row) > len(header):
                too_long += 1
            elif row:
                rows.append([value or None for value in row] + [None] * (len(header) - len(row)))
    except csv.Error as error:
        raise InputError(f"cannot be parsed: {error}", location=f"{place}:{reader.line_num}") from error
    return pl.DataFrame(rows, schema=dict.fromkeys(header, pl.String), orient="row"), too_long


def with_numbers(frame: pl.DataFrame, *, place: str, expected: str) -> tuple[pl.LazyFrame, dict[str, int]]:
    """Turn the strings of `rating` and `timestamp`, where present, into numbers and seconds.

    A row whose rating or time is written but is no number counts as unreadable and leaves; an empty field, or one
    that says so, such as `n/a`, stays as null.

    Args:
        expected: what a line should look like, for the hint.

    Returns:
        The rows, and the rows left out by reason.

    Raises:
        InputError: there are no rows, or none is readable.
    """
    if frame.is_empty():
        raise InputError("there are no rows below the header", location=place, hint=expected)
    numbers: dict[str, pl.Series] = {}
    readable = pl.Series([True]).new_from_index(0, frame.height)
    for name, convert in (("rating", ratings), ("timestamp", seconds)):
        if name in frame.columns:
            numbers[name] = convert(frame[name])
            readable &= numbers[name].is_not_null() | _without_value(frame[name], numbers[name])
    if not readable.any():
        raise InputError("no line can be read", location=f"{place}:1", hint=expected)
    kept = frame.with_columns(**numbers)
    if not readable.all():
        kept = kept.filter(readable)
    unreadable = frame.height - kept.height
    return kept.lazy(), {UNREADABLE: unreadable} if unreadable else {}


def _without_value(written: pl.Series, numbers: pl.Series) -> pl.Series:
    """Where nothing, or a word for nothing, is written."""
    if written.dtype != pl.String or numbers.null_count() == written.null_count():
        return written.is_null()
    return written.is_null() | written.str.strip_chars().str.to_lowercase().is_in(NO_VALUE)


def ratings(values: pl.Series) -> pl.Series:
    """Float64; null where the text is no number. `nan` is one; its row is dropped later, unrated."""
    if values.dtype == pl.String:
        values = values.str.strip_chars()
    return values.cast(pl.Float64, strict=False)


def seconds(values: pl.Series) -> pl.Series:
    """Int64 seconds since 1970; from numbers of seconds, milliseconds or finer, dates, or ISO text."""
    if values.dtype == pl.Date or isinstance(values.dtype, pl.Datetime):
        return values.cast(pl.Datetime("us")).dt.epoch("s")
    if values.dtype == pl.String:
        values = values.str.strip_chars()
    numbers = values.cast(pl.Int64, strict=False)
    if numbers.null_count() > values.null_count():
        numbers = values.cast(pl.Float64, strict=False).cast(pl.Int64, strict=False)
    if values.dtype == pl.String and numbers.null_count() == len(values):
        return _dates(values).dt.epoch("s")
    largest = numbers.abs().max()
    scale = 1
    while isinstance(largest, int) and largest // scale > MOST_SECONDS:
        scale *= 1000
    return numbers if scale == 1 else numbers // scale


def _dates(values: pl.Series) -> pl.Series:
    for layout in ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d"):
        parsed = values.str.to_datetime(layout, time_unit="us", strict=False)
        if parsed.null_count() < len(parsed):
            return parsed
    return pl.Series(values.name, [None] * len(values), dtype=pl.Datetime("us"))
