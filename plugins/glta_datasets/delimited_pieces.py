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
from glta_datasets.encodings import as_utf8, encoding_name, is_read_by_line, marked_encoding
from glta_datasets.files import BYTE_ORDER_MARK, LONGEST_LINE
from glta_datasets.opened_tables import PARQUET_MARK, Gathered, OpenedTable, Wanted
from glta_datasets.packing import DAMAGE, Stream, opened
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
        encoding: that was named; None is UTF-8.
    """

    path: Path
    dialect: Dialect
    header: bytes
    encoding: str | None

    def pieces(self) -> Iterator[_Piece]:
        """All of the file, each piece with the header in front of it."""
        lines = self.header.count(b"\n")
        for number, piece in enumerate(_whole_records(self.path)):
            if number:
                yield _Piece(self.header + piece.content, piece.lines_before - lines)
            else:
                yield _Piece(without_separator_line(_unmarked(piece.content, self.encoding))[0], 0)

    def records(self, piece: _Piece) -> Records:
        content = as_utf8(piece.content, str(self.path), encoding=self.encoding)
        plain = self.dialect.plain(content)
        if b'"' in plain and not well_quoted(plain, self.dialect.separator):
            raise NotInPiecesError
        return self.dialect.records(content, str(self.path))

    def place_of(self, number: int, row: int) -> str:
        """Where a row of one piece stands: that piece is read again."""
        piece = next(islice(self.pieces(), number, None))
        return further_down(self.records(piece).place_of(row), piece.lines_before)


def open_delimited(
    path: Path, wanted: Wanted, dialect_of: DialectOf, encoding: str | None = None
) -> OpenedTable | None:
    """The file in pieces; None where it is small, or has to be read at once.

    Args:
        dialect_of: of text and the separator that a first line such as `sep=;` names.
        encoding: that is named; None is UTF-8.
    """
    with suppress(NotInPiecesError, InputError, OSError, pl.exceptions.PolarsError, *DAMAGE):
        reader = _reader(path, dialect_of, encoding)
        return None if reader is None else _gathered(reader, wanted)
    return None


def first_piece(path: Path, dialect_of: DialectOf, encoding: str | None = None) -> Records | None:
    """The first rows of a file that `open_delimited` reads in pieces; None where it is small, or these cannot be read.

    Args:
        dialect_of, encoding: as there.
    """
    with suppress(NotInPiecesError, InputError, OSError, pl.exceptions.PolarsError, *DAMAGE):
        reader = _reader(path, dialect_of, encoding)
        return None if reader is None else reader.records(next(reader.pieces()))
    return None


def _reader(path: Path, dialect_of: DialectOf, encoding: str | None) -> _PiecesReader | None:
    if not is_read_by_line(encoding):
        return None
    start = next((piece.content for piece in _whole_records(path)), b"")
    if len(start) < PIECE_BYTES or start.startswith(PARQUET_MARK) or marked_encoding(start):
        return None
    text, told = without_separator_line(_unmarked(start, encoding))
    dialect = dialect_of(as_utf8(text, str(path), encoding=encoding), told)
    found = _FIRST_LINE.match(text) if dialect.columns is None else None
    header = b"" if found is None else found[0]
    return _PiecesReader(path, dialect, header, encoding) if header.count(b'"') % 2 == 0 else None


def _unmarked(content: bytes, encoding: str | None) -> bytes:
    """Text without a byte order mark; to an encoding that has none, these bytes are letters."""
    marks = encoding is None or encoding_name(encoding) == "utf-8"
    return content.removeprefix(BYTE_ORDER_MARK) if marks else content


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
            losses.add(reason, count, example and further_down(example, piece.lines_before))
        gathered.add(records.frame)
    starts = [0, *accumulate(piece.height for piece in gathered.pieces)]

    def place_of(row: int) -> str:
        number = bisect_right(starts, row) - 1
        return reader.place_of(number, row - starts[number])

    rows = gathered.taken()
    kinds = {name: pl.String() for name in rows.columns if isinstance(rows.schema[name], pl.Categorical)}
    taken = Records(rows, losses, place_of, stripped=stripped, form=reader.dialect.form, kinds=kinds)
    first = Records(gathered.first_rows(), losses, place_of, stripped=stripped, form=reader.dialect.form)
    return OpenedTable(first, lambda names, ids: taken)


def _whole_records(path: Path) -> Iterator[_Piece]:
    with opened(path) as file:
        for content, lines in whole_records(file):
            yield _Piece(content, lines)


def whole_records(stream: Stream) -> Iterator[tuple[bytes, int]]:
    """Some `PIECE_BYTES` at a time, up to a line break that is in no quoted field, and the lines before them.

    Raises:
        NotInPiecesError: a quote stays open, a line is longer than `LONGEST_LINE`, or one ends in a carriage return
            alone.
    """
    lines = 0
    while content := stream.read(PIECE_BYTES):
        content += _rest_of_line(stream)
        open_quote, more = content.count(b'"') % 2, [content]
        while open_quote and len(more) <= _MOST_LINES_OF_A_FIELD and (line := _rest_of_line(stream)):
            open_quote ^= line.count(b'"') % 2
            more.append(line)
        content = b"".join(more)
        if open_quote or content.count(b"\r") != content.count(b"\r\n"):
            raise NotInPiecesError
        yield content, lines
        lines += content.count(b"\n")


def _rest_of_line(stream: Stream) -> bytes:
    line = stream.readline(LONGEST_LINE)
    if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
        raise NotInPiecesError  # cut here, it would be two records
    return line


def further_down(place: str, lines: int) -> str:
    """`line 17: 'its text'` of a piece as of the file."""
    return _LINE_NUMBER.sub(lambda found: f"line {int(found[1].replace(',', '')) + lines:,}", place)
