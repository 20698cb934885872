"""A file of a log before all of it is read: its columns with their first values, then the columns that are taken.

Of a Parquet file only the columns that somebody needs are read, some rows at a time, and ids become categories as they
come: a log of many millions of rows takes a few bytes a row.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl
from polars import selectors

from glta_cli.plugin import InputError
from glta_datasets.files import FETCH_AGAIN
from glta_datasets.numbers import no_value
from glta_datasets.records import Records

# Among so many rows there usually is a value.
_FIRST_ROWS: Final = 1_000
# So many tell what a column holds.
ROWS_LOOKED_AT: Final = 1 << 18
PARQUET_MARK: Final = b"PAR1"
_PARQUET: Final = {"format": "parquet"}
# What a text that is no such file, or a damaged one, is told by: the whole reader says it.
UNREADABLE_ERRORS: Final = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)

ReadColumns = Callable[[Collection[str], Mapping[str, pl.DataType]], Records]


@dataclass(frozen=True)
class OpenedTable:
    """A file of a log.

    Attributes:
        first: all its columns with their first rows; perhaps all rows.
        columns: given the names of those wanted, and of ids the categories they become where they are texts or whole
            numbers, all rows.
    """

    first: Records
    columns: ReadColumns


@dataclass(frozen=True)
class Wanted:
    """Which columns of a file may be taken, by their names.

    Attributes:
        may_be: whether a column may be.
        ids: the categories that texts become which may be ids; None for a column of something else.
        numbers: whether texts that are numbers, written as numbers are, may as well be such.
    """

    may_be: Callable[[str], bool]
    ids: Callable[[str], pl.DataType | None]
    numbers: Callable[[str], bool]


class Gathered:
    """What the pieces of a file come to: the columns that may be taken, and of all columns the first values."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.first: pl.DataFrame | None = None
        self.examples: dict[str, pl.Series] = {}
        self.pieces: list[pl.DataFrame] = []

    def add(self, frame: pl.DataFrame) -> None:
        """One more piece: strings, in the same columns as those before."""
        if self.first is None:
            self.first = frame.head(_FIRST_ROWS)
        for column in frame:
            if column.name not in self.examples and not _is_empty(column):
                self.examples[column.name] = (
                    column.alias("value").to_frame().filter(_is_value(column.dtype)).head(1)["value"]
                )
        columns = [self._kept(frame[name]) for name in frame.columns if self.wanted.may_be(name)]
        # A column that nobody takes, where nobody takes any: it keeps the number of rows.
        self.pieces.append(pl.DataFrame(columns or [frame[frame.columns[0]].is_null()]))

    def _kept(self, column: pl.Series) -> pl.Series:
        kind = self.wanted.ids(column.name)
        if kind is not None:
            return column.cast(kind)
        return _as_numbers(column) if self.wanted.numbers(column.name) else column

    def taken(self) -> pl.DataFrame:
        """All rows of the columns that may be taken."""
        columns = []
        for name in self.pieces[0].columns:
            parts = [piece[name] for piece in self.pieces]
            alike = len({part.dtype for part in parts}) == 1
            columns.append(pl.concat(parts if alike else [part.cast(pl.String) for part in parts]))
        return pl.DataFrame(columns)

    def first_rows(self) -> pl.DataFrame:
        """The first rows of all columns, and behind them one with the first value of those that have none there."""
        assert self.first is not None
        if self.rows <= self.first.height:
            return self.first
        further = [
            self.examples[column.name] if column.name in self.examples and _is_empty(column) else column.clear(1)
            for column in self.first
        ]
        return pl.DataFrame([pl.concat([a, b.alias(a.name)]) for a, b in zip(self.first, further, strict=True)])

    @property
    def rows(self) -> int:
        return sum(piece.height for piece in self.pieces)


def _as_numbers(texts: pl.Series) -> pl.Series:
    """Integers or floats in place of texts that are what these are written as; else the texts."""
    for kind in (pl.Int64, pl.Float64):
        numbers = texts.cast(kind, strict=False)
        if numbers.null_count() == texts.null_count() and numbers.cast(pl.String).equals(texts):
            return numbers
    return texts


def read_whole(records: Records) -> OpenedTable:
    """A file that was read already."""
    return OpenedTable(records, lambda names, ids: records)


def open_parquet(path: Path, form: Mapping[str, str]) -> OpenedTable | None:
    """A Parquet file; None where it is packed, damaged or none: whoever reads it whole tells of that."""
    try:
        with path.open("rb") as file:
            if file.read(len(PARQUET_MARK)) != PARQUET_MARK:
                return None
        table = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        first = Records(_first_rows(table), form=form)
    except UNREADABLE_ERRORS:
        return None

    def columns(names: Collection[str], ids: Mapping[str, pl.DataType]) -> Records:
        schema = table.collect_schema()
        kinds = {name: schema[name] for name in ids if _becomes_categories(schema[name])}
        kinds = {name: pl.String() if _is_text(kind) else kind for name, kind in kinds.items()}
        try:
            frame = _columns(table, names, ids)
        except UNREADABLE_ERRORS as error:
            # Its first rows were read: the damage is behind them. To read it whole might take more than the memory.
            raise InputError(
                f"a Parquet file that cannot be read to its end: {error}", location=str(path), hint=FETCH_AGAIN
            ) from error
        return Records(frame, form=form, kinds=kinds)

    return OpenedTable(first, columns)


def first_of_parquet(path: Path) -> Records | None:
    """The first rows of a Parquet file of many; None where it has few, or cannot be read."""
    try:
        table = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        if table.select(pl.len()).collect().item() <= ROWS_LOOKED_AT:
            return None
        return Records(_columns(table.head(ROWS_LOOKED_AT), table.collect_schema().names(), {}), form=_PARQUET)
    except UNREADABLE_ERRORS:
        return None


def _columns(table: pl.LazyFrame, names: Collection[str], ids: Mapping[str, pl.DataType]) -> pl.DataFrame:
    schema = table.collect_schema()
    wanted = []
    for name in schema:
        if name not in names:
            continue
        # By a selector, for to an expression a name such as * is a pattern.
        column, kind = selectors.by_name(name).as_expr(), schema[name]
        if _is_text(kind) or (name in ids and (kind == pl.String or kind.is_integer())):
            column = column.cast(pl.String)
        wanted.append(column.cast(ids[name]) if name in ids and _becomes_categories(kind) else column)
    return table.select(wanted).collect(engine="streaming")


def _becomes_categories(kind: pl.DataType) -> bool:
    return kind == pl.String or kind.is_integer() or _is_text(kind)


def _is_text(kind: pl.DataType) -> bool:
    """Whether it is one of categories: as such they turn into no numbers and no times."""
    return isinstance(kind, pl.Categorical | pl.Enum)


def _first_rows(table: pl.LazyFrame) -> pl.DataFrame:
    """The first rows, and behind them one with the first value of each column that has none in these."""
    names = table.collect_schema().names()
    first = _columns(table.head(_FIRST_ROWS), names, {})
    if first.height < _FIRST_ROWS:
        return first
    further = [_first_value(table, column) if _is_empty(column) else column.clear(1) for column in first]
    return pl.DataFrame([pl.concat([column, more]) for column, more in zip(first, further, strict=True)])


def _first_value(table: pl.LazyFrame, column: pl.Series) -> pl.Series:
    values = table.select(selectors.by_name(column.name).as_expr().alias("value").cast(column.dtype))
    found = values.filter(_is_value(column.dtype)).head(1).collect(engine="streaming")["value"]
    return found.alias(column.name) if len(found) else column.clear(1)


def _is_empty(column: pl.Series) -> bool:
    return not column.alias("value").to_frame().select(_is_value(column.dtype).any()).item()


def _is_value(kind: pl.DataType) -> pl.Expr:
    return ~no_value(pl.col("value")) if kind == pl.String else pl.col("value").is_not_null()
