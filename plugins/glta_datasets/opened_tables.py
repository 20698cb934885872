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

from glta_datasets.numbers import no_value
from glta_datasets.records import Records

# Among so many rows there usually is a value.
_FIRST_ROWS: Final = 1_000
_PARQUET: Final = b"PAR1"
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


def read_whole(records: Records) -> OpenedTable:
    """A file that was read already."""
    return OpenedTable(records, lambda names, ids: records)


def open_parquet(path: Path, form: Mapping[str, str]) -> OpenedTable | None:
    """A Parquet file; None where it is packed, damaged or none: whoever reads it whole tells of that."""
    try:
        with path.open("rb") as file:
            if file.read(len(_PARQUET)) != _PARQUET:
                return None
        table = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        first = Records(_first_rows(table), form=form)
    except UNREADABLE_ERRORS:
        return None

    def columns(names: Collection[str], ids: Mapping[str, pl.DataType]) -> Records:
        schema = table.collect_schema()
        kinds = {name: schema[name] for name in ids if _becomes_categories(schema[name])}
        kinds = {name: pl.String() if _is_text(kind) else kind for name, kind in kinds.items()}
        return Records(_columns(table, names, ids), form=form, kinds=kinds)

    return OpenedTable(first, columns)


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
