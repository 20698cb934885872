"""Records of JSON as columns by the names of their fields."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from glta_datasets.ids import id_of
from glta_datasets.json_lines import Record


@dataclass(frozen=True)
class Column:
    """The values of one field.

    Attributes:
        values: strings, integers or floats.
        kinds: the types of the values that are there; lists and objects are texts.
        nested: where a list or an object became a text; None where none did.
        lists: the same as lists of texts, where there is nothing but lists.
    """

    values: pl.Series
    kinds: set[type]
    nested: pl.Series | None = None
    lists: pl.Series | None = None

    def with_values(self, values: pl.Series) -> Column:
        return replace(self, values=values)


def columns_of_records(
    records: Sequence[Record],
) -> tuple[pl.DataFrame, dict[str, pl.Series], dict[str, pl.Series]]:
    """Columns by their names, where one holds lists or objects, which become texts, and those of lists as lists."""
    names: dict[str, None] = {}
    for record in records:
        if not record.keys() <= names.keys():
            names |= dict.fromkeys(record)
    columns = {name: column_of_values([record.get(name) for record in records]) for name in names}
    return (
        pl.DataFrame({name: column.values for name, column in columns.items()}),
        {name: column.nested for name, column in columns.items() if column.nested is not None},
        {name: column.lists.alias(name) for name, column in columns.items() if column.lists is not None},
    )


def column_of_values(values: list[Any], kinds: Collection[type] | None = None, *, as_texts: bool = False) -> Column:
    """One column: of strings where a field is a number here and a string there.

    Args:
        values: of one field, None where a record has none.
        kinds: the types of these and of others that belong to the field; None are those of these.
        as_texts: whether they become strings in any case.
    """
    own = set(map(type, values)) - {type(None)}
    nested = lists = None
    if own & {list, dict}:
        nested = pl.Series([isinstance(value, list | dict) for value in values])
        if own == {list}:
            entries = [None if value is None else _flat(value) for value in values]
            lists = pl.Series(entries, dtype=pl.List(pl.String))
        values = [", ".join(_flat(value)) if isinstance(value, list | dict) else value for value in values]
        own = own - {list, dict} | {str}
    of_all = own if kinds is None else {*kinds}
    return Column(_typed(values, set() if as_texts else of_all), own, nested, lists)


def _typed(values: list[Any], kinds: set[type]) -> pl.Series:
    for single, column in ((str, pl.String), (float, pl.Float64), (int, pl.Int64)):
        if kinds == {single} and (single is not int or all(value is None or abs(value) < 1 << 63 for value in values)):
            return pl.Series(values, dtype=column)
    return pl.Series([id_of(value) for value in values], dtype=pl.String)


def _flat(value: Any) -> list[str]:
    """The single values of a list or an object, however deep they stand."""
    texts: list[str] = []
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list | dict):
            waiting += reversed(list(value.values()) if isinstance(value, dict) else value)
        elif (text := id_of(value)) is not None and text:
            texts.append(text)
    return texts
