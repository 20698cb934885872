"""A published release's large file of ratings in pieces of whole lines, of which ids stay as categories.

Each piece is read as a file of its own would be, which is the same as to read the file at once as long as its text is
plain: where a piece is not, or cannot be read, the whole file is, by whoever knows its format.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, islice
from pathlib import Path
from typing import Final, Protocol

import polars as pl

from glta_cli.plugin import InputError, SeenColumn
from glta_datasets import delimited_pieces
from glta_datasets.categories import categories
from glta_datasets.delimited import NUMBERS
from glta_datasets.delimited_pieces import NotInPiecesError, further_down, whole_records
from glta_datasets.files import BYTE_ORDER_MARK, read_bytes
from glta_datasets.opened_tables import PARQUET_MARK
from glta_datasets.packing import DAMAGE, Stream, opened
from glta_datasets.quotes import well_quoted
from glta_datasets.records import Losses, Records
from glta_datasets.seen_files import seen_columns

Types = Mapping[str, type[pl.DataType]]


class Parse(Protocol):
    """Makes columns `user`, `item` and others of UTF-8 text, given what to call the file in errors.

    `types` are of columns that may come as numbers; they come as texts if any of their fields is none.
    """

    def __call__(self, content: bytes, place: str, types: Types = NUMBERS) -> Records: ...


Opened = Callable[[], AbstractContextManager[Stream]]

_FIRST_LINE: Final = re.compile(rb"\s*[^\n]*\n")


def id_kinds() -> dict[str, pl.DataType]:
    """The categories that users and items become; files that are joined share them."""
    return {"user": categories(), "item": categories()}


def read_ratings(path: Path, parse: Parse, kinds: Mapping[str, pl.DataType], *, header: bool) -> Records:
    """All ratings of a file, in pieces where it is large; raises as `parse` and `read_bytes` do.

    Args:
        parse: of its text.
        kinds: the categories that ids become.
        header: whether the first line names the columns.
    """
    found = ratings_in_pieces(partial(opened, path), parse, str(path), kinds, header=header)
    return parse(read_bytes(path), str(path)) if found is None else found


def ratings_in_pieces(
    source: Opened, parse: Parse, place: str, kinds: Mapping[str, pl.DataType], *, header: bool
) -> Records | None:
    """The same of any stream, which is opened for every pass; None where it has to be read at once."""
    with suppress(NotInPiecesError, InputError, OSError, pl.exceptions.PolarsError, *DAMAGE):
        with source() as stream:
            start = next((content for content, _ in whole_records(stream)), b"")
        if len(start) < delimited_pieces.PIECE_BYTES or start.startswith(PARQUET_MARK):
            return None
        found = _FIRST_LINE.match(start.removeprefix(BYTE_ORDER_MARK)) if header else None
        pieces = _Pieces(source, parse, place, b"" if found is None else found[0])
        gathered = _gathered(pieces, kinds, NUMBERS)
        # A column with a text that is no number comes as texts, as if it had been read at once.
        return _gathered(pieces, kinds, {}) if gathered is None else gathered
    return None


@dataclass(frozen=True)
class _Pieces:
    """The records of each piece of a stream, with the lines up to the one that names the columns in front of it."""

    source: Opened
    parse: Parse
    place: str
    header: bytes

    def texts(self) -> Iterator[tuple[bytes, int]]:
        """Each piece, and by how many lines what is said of it has to be moved."""
        lines_of_header = self.header.count(b"\n")
        with self.source() as stream:
            for number, (content, before) in enumerate(whole_records(stream)):
                if number:
                    yield self.header + content, before - lines_of_header
                else:
                    yield content.removeprefix(BYTE_ORDER_MARK), 0

    def records(self, text: bytes, types: Types = NUMBERS) -> Records:
        plain = text.isascii() and b"\0" not in text[:64]
        if not plain or (b'"' in text and not well_quoted(text, ",")):
            raise NotInPiecesError
        return self.parse(text, self.place, types)

    def place_of(self, number: int, row: int) -> str:
        """Where a row of one piece stands: that piece is read again."""
        text, moved = next(islice(self.texts(), number, None))
        return further_down(self.records(text).place_of(row), moved)


def _gathered(pieces: _Pieces, kinds: Mapping[str, pl.DataType], types: Types) -> Records | None:
    """All pieces; None where a column is of numbers in one and of texts in another."""
    frames: list[pl.DataFrame] = []
    losses, stripped, seen = Losses(), True, tuple[SeenColumn, ...]()
    form: Mapping[str, str] = {}
    for text, moved in pieces.texts():
        records = pieces.records(text, types)
        frame = records.frame
        if frames and frames[0].columns != frame.columns:
            raise NotInPiecesError
        frame = frame.with_columns(frame[name].cast(kind) for name, kind in kinds.items())
        if frames and frames[0].schema != frame.schema:
            return None
        own = records.columns or seen_columns(records.frame, {role: role for role in frame.columns})
        seen, form = _with_examples(seen, own) if seen else own, form or records.form
        stripped = stripped and records.stripped
        for reason, count in records.losses.counts.items():
            example = records.losses.examples.get(reason)
            losses.add(reason, count, example and further_down(example, moved))
        frames.append(frame)
    starts = [0, *accumulate(frame.height for frame in frames)]

    def place_of(row: int) -> str:
        number = bisect_right(starts, row) - 1
        return pieces.place_of(number, row - starts[number])

    return Records(pl.concat(frames), losses, place_of, stripped=stripped, form=form, columns=seen)


def _with_examples(seen: tuple[SeenColumn, ...], more: tuple[SeenColumn, ...]) -> tuple[SeenColumn, ...]:
    return tuple(
        replace(one, example=other.example) if one.example is None else one
        for one, other in zip(seen, more, strict=True)
    )
