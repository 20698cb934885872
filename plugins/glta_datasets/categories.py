"""Columns of ids as categories: a number of four bytes for each row, and each text once.

What is asked of the texts, such as whether one has blanks around it, is asked of each kind and not of each row.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl


def categories() -> pl.Categorical:
    """A type whose numbers are of one column alone, so that they have no gaps."""
    return pl.Categorical(pl.Categories.random())


def with_categories(frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """The frame with those of these columns that are texts as categories."""
    return frame.with_columns(frame[name].cast(categories()) for name in columns if frame.schema[name] == pl.String)


def kinds_of(values: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The different texts of a column of categories, and the number that stands for each in its rows."""
    kinds = values.unique().drop_nulls()
    return kinds.cast(pl.String), kinds.to_physical()


def rows_of_kinds(values: pl.Series, numbers: pl.Series) -> pl.Series:
    """In which rows one of these kinds stands, [n] booleans, false where nothing does."""
    return values.to_physical().is_in(numbers.implode()).fill_null(False)


def each_kind(values: pl.Series, changed: Callable[[pl.Series], pl.Series]) -> pl.Series:
    """The column with `changed` done to each of its different texts; the column itself where that changes none."""
    texts, numbers = kinds_of(values)
    others = changed(texts)
    if others.equals(texts):
        return values
    place_of = pl.Series([None], dtype=pl.UInt32).new_from_index(0, int(numbers.max()) + 1)  # type: ignore[arg-type]
    place_of = place_of.scatter(numbers, pl.Series(range(len(numbers)), dtype=pl.UInt32))
    return others.cast(categories()).gather(place_of.gather(values.to_physical())).alias(values.name)
