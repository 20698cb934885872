"""Delimited text line by line, for text that is not in order: what is whole is kept, the rest is counted."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

import polars as pl

from glta_cli.plugin import InputError
from glta_datasets.columns import looks_like_data, without_header
from glta_datasets.ids import BLANKS
from glta_datasets.quotes import swallowed
from glta_datasets.records import TOO_MANY_FIELDS, UNCLOSED_QUOTE, Losses, Records, line_shown

_CSV_BLANKS: Final = " \r"
# Of the lines that have quotes, so many are looked at for the one that closes a field.
_MOST_LINES_OF_A_FIELD: Final = 1_000


class UnclosedQuoteError(Exception):
    """A field opens with a quote that nothing closes."""


def read_by_line(
    text: str, place: str, *, separator: str, columns: Sequence[str] | None = None, quotes: bool = True
) -> Records:
    """Rows of string columns; lines without quotes are divided all at once, only the others one by one.

    Args:
        text: with line feeds, or carriage returns and line feeds, between its lines.
        columns: names, where the text has no header line.

    Raises:
        InputError: no header, or two columns of one name.
    """
    source = QuotedLines(text, separator, quotes)
    start = 0
    if columns is None:
        header, start = _header(source, place)
        columns = header
    width = len(columns)
    losses = Losses()
    rows, numbers, single = source.records(start, width, losses)
    fields = {name: [row[place] for row in rows] for place, name in enumerate(columns)}
    by_quotes = pl.DataFrame(fields, schema=dict.fromkeys(columns, pl.String))
    plain, plain_numbers = _divided(source.lines, single, columns, separator, losses)
    frame = pl.concat([by_quotes, plain]).with_columns(pl.selectors.string().str.strip_chars(BLANKS))
    order = pl.Series([*numbers, *plain_numbers], dtype=pl.Int64)
    if numbers and plain_numbers:
        sorting = order.arg_sort()
        frame, order = frame[sorting], order.gather(sorting)
    return Records(frame, losses, lambda row: line_shown(order[row] + 1, source.lines[order[row]]), stripped=True)


def _header(source: QuotedLines, place: str) -> tuple[list[str], int]:
    """The names of the columns, and the line behind them."""
    first = next((number for number, line in enumerate(source.lines) if line.strip(_CSV_BLANKS)), None)
    if first is None:
        raise InputError("there is no header", location=f"{place}:1", hint="write the names of the columns first")
    try:
        fields, following = source.record(first, None)
    except UnclosedQuoteError as error:
        raise InputError(
            "the header opens a quote and never closes it", location=f"{place}:{first + 1}", hint="close it"
        ) from error
    names = [(field or "").strip(BLANKS) for field in fields]
    while len(names) > 1 and not names[-1]:
        names.pop()
    names = [name or f"column {number}" for number, name in enumerate(names, 1)]
    if len(set(names)) < len(names):
        if looks_like_data(names):
            raise without_header(names, place)
        raise InputError(
            f"two columns have one name: {', '.join(names)}",
            location=f"{place}:{first + 1}",
            hint="give each column a name of its own",
        )
    return names, following


def _divided(
    lines: list[str], single: list[int], columns: Sequence[str], separator: str, losses: Losses
) -> tuple[pl.DataFrame, list[int]]:
    """Lines without quotes as rows, and the numbers of those that are."""
    text = pl.Series("line", [lines[number] for number in single], dtype=pl.String).str.strip_chars_end("\r")
    numbers = pl.Series("number", single, dtype=pl.Int64)
    separators = text.str.count_matches(separator, literal=True)
    long = separators >= len(columns)
    if long.any():
        # Fields beyond the header count only where something stands in them.
        short = text.str.strip_chars_end(separator + _CSV_BLANKS)
        text = short.zip_with(long, text)
        lost = long & (text.str.count_matches(separator, literal=True) >= len(columns))
        if lost.any():
            first = int(numbers.filter(lost)[0])
            losses.add(TOO_MANY_FIELDS, int(lost.sum()), line_shown(first + 1, lines[first]))
            text, numbers = text.filter(~lost), numbers.filter(~lost)
    names = [str(number) for number in range(len(columns))]
    # A line break behind the last line, for it may be empty: what is no line to the reader is no row either.
    content = "\n".join([separator.join(names), *text.to_list(), ""]).encode()
    frame = pl.read_csv(content, separator=separator, infer_schema=False, quote_char=None)
    return frame.rename(dict(zip(names, columns, strict=True))), numbers.to_list()


class QuotedLines:
    """The lines of a text, and the records that quotes make of them.

    Args:
        text: the whole of it.
        separator: between fields.
        quotes: whether double quotes enclose fields.
    """

    def __init__(self, text: str, separator: str, quotes: bool) -> None:
        self.lines = text.split("\n")
        self.separator = separator
        # Numbers of the lines that have quotes: between two of them no field can close.
        self.quoted = [number for number, line in enumerate(self.lines) if '"' in line] if quotes else []

    def records(self, start: int, width: int, losses: Losses) -> tuple[list[list[str | None]], list[int], list[int]]:
        """Records that have quotes, the numbers of their first lines, and the numbers of all lines that have none."""
        rows: list[list[str | None]] = []
        numbers: list[int] = []
        single: list[int] = []
        at = start
        for number in self.quoted:
            if number < at:
                continue
            single += self._filled(at, number)
            try:
                fields, at = self.record(number, width)
            except UnclosedQuoteError:
                losses.add(UNCLOSED_QUOTE, 1, line_shown(number + 1, self.lines[number]))
                at = number + 1
                continue
            if any(field for field in fields[width:]):
                losses.add(TOO_MANY_FIELDS, 1, line_shown(number + 1, self.lines[number]))
            else:
                rows.append(fields[:width] + [None] * (width - len(fields)))
                numbers.append(number)
        return rows, numbers, single + self._filled(at, len(self.lines))

    def record(self, number: int, width: int | None) -> tuple[list[str | None], int]:
        """The fields of the record that begins with a line, and the number of the line behind it.

        Args:
            width: how many fields a record has, to tell text from records within an open quote; None where unknown.

        Raises:
            UnclosedQuoteError: a field opens with a quote that is not closed as it should be.
        """
        fields: list[str | None] = []
        line, place = self.lines[number].rstrip("\r"), 0
        while place <= len(line):
            begin = place + len(line[place:]) - len(line[place:].lstrip(" "))
            if line[begin : begin + 1] == '"':
                value, number, line, place = self._quoted(number, line, begin, width)
                end = _found(line, self.separator, place)
                # Letters behind a closed quote belong to the field, as in "Heroes" by Bowie.
                fields.append(value + line[place:end].rstrip(" "))
            else:
                end = _found(line, self.separator, place)
                fields.append(line[place:end] or None)
            place = end + 1
        return fields, number + 1

    def _quoted(self, number: int, line: str, begin: int, width: int | None) -> tuple[str, int, str, int]:
        """The text of a quoted field, and where it ends: number and text of the line, place behind the quote."""
        closing = _closing_quote(line, begin + 1)
        if closing >= 0:
            return line[begin + 1 : closing].replace('""', '"'), number, line, closing + 1
        following = bisect_right(self.quoted, number)
        parts, first = [line[begin + 1 :]], number
        for last in self.quoted[following : following + _MOST_LINES_OF_A_FIELD]:
            closing = _closing_quote(self.lines[last], 0)
            if closing < 0:
                continue
            line = self.lines[last].rstrip("\r")
            inner = self.lines[first + 1 : last]
            behind = line[closing + 1 : closing + 2]
            if behind not in ("", self.separator) or (
                width is not None and swallowed(inner, width - 1, self.separator)
            ):
                break
            parts += [*inner, line[:closing]]
            return "\n".join(parts).replace('""', '"'), last, line, closing + 1
        raise UnclosedQuoteError

    def _filled(self, start: int, end: int) -> list[int]:
        return [number for number in range(start, end) if self.lines[number].strip(_CSV_BLANKS)]


def _found(line: str, separator: str, start: int) -> int:
    place = line.find(separator, start)
    return len(line) if place < 0 else place


def _closing_quote(line: str, start: int) -> int:
    """The place of the first quote that stands alone; -1 where there is none."""
    place = line.find('"', start)
    while place >= 0 and line[place + 1 : place + 2] == '"':
        place = line.find('"', place + 2)
    return place
