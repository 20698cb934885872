"""Delimited text as columns of strings: fast where the whole of it is in order, else line by line."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Final

import numpy as np
import polars as pl

from glta_datasets.encodings import as_utf8
from glta_datasets.files import BYTE_ORDER_MARK, with_line_feeds
from glta_datasets.ids import BLANKS
from glta_datasets.lines import read_by_line
from glta_datasets.quotes import well_quoted
from glta_datasets.records import Records, line_shown

NUMBERS: Final[Mapping[str, type[pl.DataType]]] = {"rating": pl.Float64, "timestamp": pl.Int64}

_BLANK_LINES: Final = re.compile(rb"^[ \r]*\n|^[ \r]+\Z", re.MULTILINE)
# Where files were joined, one stands before a line, and a quote behind it would open no field.
_MARKS: Final = re.compile(rb"(?<![^\r\n])(?:%b)+" % BYTE_ORDER_MARK)
# Blanks and controls end with the space in ASCII.
_LAST_BLANK: Final = 32
# Of the text looked at in one go: what fits a processor's cache.
_PIECE: Final = 1 << 18

# Text that starts with these is taken for a zlib stream by the fast reader.
LIKE_ZLIB: Final = (b"x\x01", b"x^")


def read_delimited(
    content: bytes,
    place: str,
    *,
    separator: str,
    columns: Sequence[str] | None = None,
    quotes: bool = True,
    types: Mapping[str, type[pl.DataType]] | None = None,
) -> Records:
    """Parse UTF-8 text into string columns without blanks around names and fields; a field that is not there is null.

    A line without any text is no record. A line with more fields than the header, all of them empty, is whole.

    Args:
        place: what to call the text in errors.
        separator: one ASCII character.
        columns: names, where the text has no header line.
        quotes: whether double quotes enclose fields.
        types: of columns that may come as numbers; they come as strings if any of their fields is none.

    Returns:
        The rows; left out are lines with too many fields, and lines whose quote is never closed.

    Raises:
        InputError: not UTF-8, no header, or two columns of one name.
    """
    ascii_only = content.isascii() and b"\0" not in content[:64]
    if not ascii_only:
        content = as_utf8(content, place)
        content = _MARKS.sub(b"", content) if BYTE_ORDER_MARK in content else content
    content = with_line_feeds(content)
    in_order = not content.startswith(LIKE_ZLIB) and (
        not quotes or b'"' not in content or well_quoted(content, separator)
    )
    frame = _read_whole(content, separator, columns, quotes, types) if in_order else None
    if frame is not None and _may_have_blank_lines(frame):
        kept = _BLANK_LINES.sub(b"", content) if b'"' not in content or not quotes else None
        if kept is None or len(kept) != len(content):
            # Quoted fields may hold blank lines that belong to them.
            frame = None if kept is None else _read_whole(kept, separator, columns, quotes, types)
    if frame is None:
        records = read_by_line(content.decode("utf-8"), place, separator=separator, columns=columns, quotes=quotes)
        return records if columns else records.without_repeated_header()
    if not ascii_only or _has_blanks(content, separator, frame, columns is None):
        frame = frame.with_columns(pl.selectors.string().str.strip_chars(BLANKS))
    records = Records(frame, place_of=_places(content, separator, quotes, columns is None), stripped=True)
    return records if columns else records.without_repeated_header()


def _read_whole(
    content: bytes,
    separator: str,
    columns: Sequence[str] | None,
    quotes: bool,
    types: Mapping[str, type[pl.DataType]] | None,
) -> pl.DataFrame | None:
    """The text by the fast reader; None where a line does not fit, or a name in the header."""
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
            names = [name.strip(BLANKS) or f"column {number}" for number, name in enumerate(frame.columns, 1)]
            if whole and len(set(names)) == len(names):
                return frame if names == frame.columns else frame.rename(dict(zip(frame.columns, names, strict=True)))
    return None


def _may_have_blank_lines(frame: pl.DataFrame) -> bool:
    """Whether a row is empty, which a blank line is to the fast reader."""
    if frame.width and all(frame[name].null_count() for name in frame.columns[1:]):
        # Under a name of its own: to an expression, one such as ^$ is a pattern.
        first = frame[frame.columns[0]].alias("first")
        return first.null_count() > 0 or (
            first.dtype == pl.String and bool((first.str.strip_chars(BLANKS) == "").any())
        )
    return False


def _has_blanks(content: bytes, separator: str, frame: pl.DataFrame, header: bool) -> bool:
    """Whether ASCII text has blanks besides its line breaks and separators; if they do not add up, it may have."""
    letters = np.frombuffer(content, dtype=np.uint8)
    pieces = (letters[at : at + _PIECE] for at in range(0, len(letters), _PIECE))
    count = sum(int(np.count_nonzero(piece <= _LAST_BLANK)) for piece in pieces)
    records = frame.height + header
    breaks = records - (not content.endswith(b"\n"))
    # Counted, for what some lines lack another's blanks would make up for: files may be joined, and lines short.
    returns = content.count(b"\r")
    tabs = 0
    if ord(separator) <= _LAST_BLANK and b'"' not in content:
        tabs = content.count(separator.encode())
    elif ord(separator) <= _LAST_BLANK:
        # Not counted where a field may hold some; then a line that is short may lack what it has.
        if frame.width and frame[frame.columns[-1]].has_nulls():
            return True
        tabs = records * (frame.width - 1)
    return count != breaks + returns + tabs


def _places(content: bytes, separator: str, quotes: bool, header: bool) -> Callable[[int], str]:
    """How to find the line of a row of the frame: the file is gone through again, which only a fault asks for."""

    def place_of(row: int) -> str:
        lines = io.StringIO(content.decode("utf-8"), newline="")
        if not quotes or b'"' not in content:
            filled = ((n, line) for n, line in enumerate(lines, 1) if line.strip(" \r\n"))
            number, line = next(islice(filled, row + header, None))
            return line_shown(number, line)
        reader = csv.reader(lines, delimiter=separator)
        before = 0
        for index, fields in enumerate(fields for fields in reader if fields):
            if index == row + header:
                return line_shown(before + 1, separator.join(fields))
            before = reader.line_num
        return f"row {row + 1}"

    return place_of
