"""A large file of JSON lines in batches of records, of which only the fields that may be taken stay in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final

import polars as pl

from glta_cli.plugin import InputError
from glta_datasets.categories import each_kind
from glta_datasets.files import first_line
from glta_datasets.ids import BLANKS, id_of
from glta_datasets.json_columns import Column, column_of_values, columns_of_records
from glta_datasets.json_lines import Record, places_of, records_of
from glta_datasets.numbers import written
from glta_datasets.opened_tables import OpenedTable, Wanted
from glta_datasets.packing import DAMAGE, opened
from glta_datasets.records import Losses, Records

# A file of less text is read at once.
WHOLE_BYTES: Final = 1 << 25
BATCH_RECORDS: Final = 1 << 17
_FIRST_ROWS: Final = 1_000


class _Field:
    """One field of all records so far.

    Attributes:
        kinds: the types of its values.
        first: its values in the first records, and behind them the first of all where these have none.
        parts: its values in columns, of a field that may be taken; by the type alone of each batch.
    """

    def __init__(self, name: str, wanted: Wanted, before: int) -> None:
        self.name, self.wanted, self.before = name, wanted, before
        self.kept = wanted.may_be(name)
        self.kinds: set[type] = set()
        self.has_huge = False
        self.first: list[Any] = [None] * min(before, _FIRST_ROWS)
        self.has_value = False
        self.parts: list[Column] = []

    def add(self, values: list[Any]) -> None:
        column = column_of_values(values)
        self.kinds |= column.kinds
        self.has_huge |= column.kinds == {int} and column.values.dtype != pl.Int64
        missing = _FIRST_ROWS - len(self.first)
        self.first += values[: max(missing, 0)]
        self.has_value = self.has_value or any(map(_is_value, values[: max(missing, 0)]))
        if not self.has_value and (late := next(filter(_is_value, values[max(missing, 0) :]), None)) is not None:
            self.first += [None] * (_FIRST_ROWS - len(self.first)) + [late]
            self.has_value = True
        if self.kept:
            kind = self.wanted.ids(self.name)
            if kind is not None and column.values.dtype == pl.String:
                column = column.with_values(column.values.cast(kind))
            self.parts.append(column)

    def column(self) -> Column:
        """All values as one column: of the type they share, else of texts as ids are written."""
        one_type = len(self.kinds) < 2 and not self.has_huge and self.kinds <= {str, int, float}
        absent = pl.Series([None], dtype=pl.String).new_from_index(0, self.before)
        parts = [part.values if one_type else _as_texts(part) for part in self.parts]
        parts = [absent, *parts] if self.before else parts
        # Batches without a value are of no type.
        kind = next((part.dtype for part in parts if part.null_count() < len(part)), parts[-1].dtype)
        if not one_type:
            kind = next((part.dtype for part in parts if isinstance(part.dtype, pl.Categorical)), pl.String())
        marks = [part.nested if part.nested is not None else _no_marks(len(part.values)) for part in self.parts]
        nested = pl.concat([_no_marks(self.before), *marks]) if any(p.nested is not None for p in self.parts) else None
        return Column(pl.concat([part.cast(kind) for part in parts]), self.kinds, nested)

    def first_rows(self, rows: int) -> pl.Series:
        """The first values in the type of all, so many of them that columns are of one length."""
        values = column_of_values(self.first[:rows], self.kinds, as_texts=self.has_huge).values
        return pl.concat([values, values.clear(rows - len(values))]) if len(values) < rows else values


def open_json_lines(path: Path, wanted: Wanted, form: dict[str, str]) -> OpenedTable | None:
    """The file in batches; None where it is small, a list, or no line of it can be read: then it is read at once."""
    if not is_large(path) or first_line(path).lstrip().startswith((b"[", b"\xff\xfe", b"\xfe\xff")):
        return None
    losses = Losses()
    try:
        fields, rows = _fields(records_of(path, losses), wanted)
    except InputError:
        return None
    columns = {name: field.column() for name, field in fields.items() if field.kept}
    shown = min(rows, _FIRST_ROWS + 1)
    first = pl.DataFrame({name: field.first_rows(shown) for name, field in fields.items()})
    place_of = places_of(path)
    taken = Records(
        pl.DataFrame({name: column.values for name, column in columns.items()}),
        losses,
        place_of,
        form=form,
        nested={name: column.nested for name, column in columns.items() if column.nested is not None},
        kinds={name: pl.String() for name, one in columns.items() if isinstance(one.values.dtype, pl.Categorical)},
    )
    return OpenedTable(Records(first, losses, place_of, form=form), lambda names, ids: taken)


def first_records(path: Path) -> Records | None:
    """The first rows of a file that `open_json_lines` reads in batches; None where it is small, or has no record."""
    if not is_large(path) or first_line(path).lstrip().startswith((b"[", b"\xff\xfe", b"\xfe\xff")):
        return None
    losses = Losses()
    try:
        records = list(islice(records_of(path, losses), BATCH_RECORDS))
    except InputError:
        return None
    columns, nested, lists = columns_of_records(records)
    form = {"format": "json", "encoding": "utf-8"}
    return Records(columns, losses, places_of(path), nested=nested, lists=lists, form=form)


def is_large(path: Path) -> bool:
    """Whether its text is, which of a packed file is many times what lies on the disk."""
    # Of a damaged file tells whoever reads it at once.
    with suppress(InputError, OSError, *DAMAGE), opened(path) as file:
        return len(file.read(WHOLE_BYTES)) >= WHOLE_BYTES
    return False


def _fields(records: Iterator[Record], wanted: Wanted) -> tuple[dict[str, _Field], int]:
    """The fields of all records in the order in which they first appear, and how many records there are."""
    fields: dict[str, _Field] = {}
    rows = 0
    while batch := list(islice(records, BATCH_RECORDS)):
        for name in dict.fromkeys(name for record in batch for name in record):
            fields.setdefault(name, _Field(name, wanted, rows))
        for name, field in fields.items():
            field.add([record.get(name) for record in batch])
        rows += len(batch)
    return fields, rows


def _as_texts(column: Column) -> pl.Series:
    """A column as texts, as ids are written."""
    values = column.values
    if isinstance(values.dtype, pl.Categorical):
        return each_kind(values, lambda texts: texts.str.strip_chars(BLANKS))
    if values.dtype.is_float():
        return pl.Series(values.name, [id_of(value) for value in values], dtype=pl.String)
    return values.cast(pl.String).str.strip_chars(BLANKS)


def _is_value(value: Any) -> bool:
    return (written(value) if isinstance(value, str) else value) is not None


def _no_marks(count: int) -> pl.Series:
    return pl.Series([False]).new_from_index(0, count)
