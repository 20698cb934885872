"""A large delimited file in pieces of whole records, of which only the columns that may be taken stay in memory.

Each piece is read as a file of its own with the same header would be. That is the same as to read the file at once as
long as no quote stays open across a piece: where one might, and where a piece cannot be read, the whole file is.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path
from typing import Final

import polars as pl

from glta_cli.plugin import InputError
from glta_datasets.dialects import Dialect, without_separator_line
from glta_datasets.encodings import as_utf8, marked_encoding
from glta_datasets.files import BYTE_ORDER_MARK, LONGEST_LINE
from glta_datasets.opened_tables import PARQUET_MARK, Gathered, OpenedTable, Wanted
from glta_datasets.packing import DAMAGE, opened
from glta_datasets.quotes import well_quoted
from glta_datasets.records import Losses, Records

# A smaller file is read at once.
PIECE_BYTES: Final = 1 << 25
_MOST_LINES_OF_A_FIELD: Final = 1_000
_LINE_NUMBER: Final = re.compile(r"^line ([0-9,]+)")
_FIRST_LINE: Final = re.compile(rb"\s*[^\n]*\n")

DialectOf = Callable[[bytes, str | None], Dialect]


class NotInPiecesError(Exception):
    """The file has to be read at once."""


@dataclass(frozen=True)
class _Piece:
    """Whole records of a file, and how many lines stand before them."""

    content: bytes
    lines_before: int


@dataclass(frozen=True)
class _PiecesReader:
    """Reads pieces of one file.

    Attributes:
        header: the lines up to the one that names the columns; empty where none does.
    """

    path: Path
    dialect: Dialect
    header: bytes

    def pieces(self) -> Iterator[_Piece]:
        """All of the file as UTF-8, each piece with the header in front of it."""
        lines = self.header.count(b"\n")
        for number, piece in enumerate(_whole_records(self.path)):
            if number:
                yield _Piece(self.header + piece.content, piece.lines_before - lines)
            else:
                yield _Piece(without_separator_line(piece.content.removeprefix(BYTE_ORDER_MARK))[0], 0)

    def records(self, piece: _Piece) -> Records:
        content = as_utf8(piece.content, str(self.path))
        plain = self.dialect.plain(content)
        if b'"' in plain and not well_quoted(plain, self.dialect.separator):
            raise NotInPiecesError
        return self.dialect.records(content, str(self.path))

    def place_of(self, number: int, row: int) -> str:
        """Where a row of one piece stands: that piece is read again."""
        piece = next(islice(self.pieces(), number, None))
        return _further_down(self.records(piece).place_of(row), piece.lines_before)


def open_delimited(path: Path, wanted: Wanted, dialect_of: DialectOf) -> OpenedTable | None:
    """The file in pieces; None where it is small, or has to be read at once.

    Args:
        dialect_of: of text and the separator that a first line such as `sep=;` names.
    """
    with suppress(NotInPiecesError, InputError, OSError, pl.exceptions.PolarsError, *DAMAGE):
        start = next((piece.content for piece in _whole_records(path)), b"")
        if len(start) < PIECE_BYTES or start.startswith(PARQUET_MARK) or marked_encoding(start):
            return None
        text, told = without_separator_line(start.removeprefix(BYTE_ORDER_MARK))
        dialect = dialect_of(text, told)
        found = _FIRST_LINE.match(text) if dialect.columns is None else None
        header = b"" if found is None else found[0]
        if header.count(b'"') % 2 == 0:
            return _gathered(_PiecesReader(path, dialect, header), wanted)
    return None


def _gathered(reader: _PiecesReader, wanted: Wanted) -> OpenedTable:
    gathered, losses = Gathered(wanted), Losses()
    stripped, names = True, None
    for piece in reader.pieces():
        records = reader.records(piece)
        if names is not None and names != records.frame.columns:
            raise NotInPiecesError
        names, stripped = records.frame.columns, stripped and records.stripped
        for reason, count in records.losses.counts.items():
            example = records.losses.examples.get(reason)
            losses.add(reason, count, example and _further_down(example, piece.lines_before))
        gathered.add(records.frame)
    starts = [0, *accumulate(piece.height for piece in gathered.pieces)]

    def place_of(row: int) -> str:
        number = bisect_right(starts, row) - 1
        return reader.place_of(number, row - starts[number])

    rows = pl.concat(gathered.pieces)
    kinds = {name: pl.String() for name in rows.columns if isinstance(rows.schema[name], pl.Categorical)}
    taken = Records(rows, losses, place_of, stripped=stripped, form=reader.dialect.form, kinds=kinds)
    first = Records(gathered.first_rows(), losses, place_of, stripped=stripped, form=reader.dialect.form)
    return OpenedTable(first, lambda names, ids: taken)


def _whole_records(path: Path) -> Iterator[_Piece]:
    """Some `PIECE_BYTES` at a time, up to a line break that is in no quoted field."""
    lines = 0
    with opened(path) as file:
        while content := file.read(PIECE_BYTES):
            content += file.readline(LONGEST_LINE)
            open_quote, more = content.count(b'"') % 2, [content]
            while open_quote and len(more) <= _MOST_LINES_OF_A_FIELD and (line := file.readline(LONGEST_LINE)):
                open_quote ^= line.count(b'"') % 2
                more.append(line)
            content = b"".join(more)
            if open_quote or content.count(b"\r") != content.count(b"\r\n"):
                raise NotInPiecesError
            yield _Piece(content, lines)
            lines += content.count(b"\n")


def _further_down(place: str, lines: int) -> str:
    """`line 17: 'its text'` of a piece as of the file."""
    return _LINE_NUMBER.sub(lambda found: f"line {int(found[1].replace(',', '')) + lines:,}", place)
