"""The further columns of a file of items, typed by what stands in them: numbers, dates, truths, lists and texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import polars as pl

from glta_cli.plugin import InputError
from glta_datasets.dates import table_times
from glta_datasets.ids import BLANKS
from glta_datasets.numbers import no_value

BETWEEN_ENTRIES: Final = "|"
"""Of a list that stands in one field, as MovieLens writes genres."""

# A number that begins with a zero, as 0042, is a code.
_WHOLE: Final = r"^[+-]?(?:0|[1-9]\d*)$"
_DECIMAL: Final = r"^[+-]?(?:0|[1-9]\d*)?(?:\.\d+)?(?:[eE][+-]?\d{1,3})?$"
_DIGIT: Final = r"\d"
_THOUSANDS: Final = r"^[+-]?[1-9]\d{0,2}(?:,\d{3})*(?:\.\d+)?$"
_THOUSANDS_ALONE: Final = r"^[+-]?[1-9]\d{0,2},\d{3}$"
_COMMA: Final = r"^[+-]?(?:0|[1-9]\d*)?,\d+$"
_COMMA_OR_WHOLE: Final = r"^[+-]?(?:0|[1-9]\d*)?(?:,\d+)?$"
# A price as $9.99, USD 9.99 or 9,99 €: of one currency, or the numbers could not be compared.
_PRICE: Final = r"^([$€£¥₹]|[A-Z]{3}\b)?\s*([+-]?[\d.,]*\d)\s*([$€£¥₹]|[A-Z]{3})?$"
_SECONDS_A_DAY: Final = 86_400
# Of a column of lists at least this share of values holds a bar, or more than so many different ones do.
_FAIR_SHARE: Final = 0.1
_HANDFUL: Final = 5


def typed_columns(columns: Iterable[pl.Series], *, decimal: str | None = None) -> list[pl.Series]:
    """Columns as they were read, each in the type its values are of; without those that hold records or bytes.

    Args:
        decimal: the sign before decimals, where somebody named it.
    """
    typed = [_typed(column, decimal) for column in columns if column.name != "item"]
    return [column for column in typed if column is not None]


def roles_with_filters(roles: Mapping[str, str], kept: Iterable[pl.Series]) -> dict[str, str]:
    """The roles of a file's columns, with those that are kept to choose by and are nothing else."""
    return {**{column.name: "filter" for column in kept}, **roles}


def _typed(column: pl.Series, decimal: str | None) -> pl.Series | None:
    kind = column.dtype
    if kind == pl.String:
        return of_texts(column, decimal=decimal)
    if isinstance(kind, pl.List):
        return None if kind.inner.is_nested() or kind.inner in (pl.Binary, pl.Object) else column
    if kind in (pl.Time, pl.Duration):
        return column.cast(pl.String)
    return None if kind.is_nested() or kind in (pl.Binary, pl.Object) else column


def of_texts(column: pl.Series, *, decimal: str | None = None) -> pl.Series:
    """A column of texts as numbers, truths, dates or lists where all of its values are; null where there is none.

    Args:
        decimal: the sign before decimals; None finds it by looking, and leaves as text what may be thousands as well.
    """
    stripped = column.alias("text").str.strip_chars(BLANKS).to_frame()
    texts = stripped.select(pl.when(~no_value(pl.col("text"))).then(pl.col("text"))).to_series()
    values = texts.drop_nulls().unique()
    if values.is_empty():
        return texts.alias(column.name)
    for read in (_numbers, _prices, _truths, _dates, _lists):
        found = read(texts, values, decimal)
        if found is not None:
            return found.alias(column.name)
    return texts.alias(column.name)


def _numbers(texts: pl.Series, values: pl.Series, decimal: str | None) -> pl.Series | None:
    if values.str.contains(_WHOLE).all():
        return _cast(texts, pl.Int64)
    if not values.str.contains(_DIGIT).all():
        return None
    if decimal != "," and values.str.contains(_DECIMAL).all():
        return _cast(texts, pl.Float64)
    commas = values.filter(values.str.contains(_COMMA))
    if len(commas) and values.str.contains(_COMMA_OR_WHOLE).all():
        certain = decimal == "," or (decimal is None and not commas.str.contains(_THOUSANDS_ALONE).all())
        return _cast(texts.str.replace(",", ".", literal=True), pl.Float64) if certain else None
    if decimal != "," and values.str.contains(_THOUSANDS).all() and values.str.contains(".", literal=True).any():
        return _cast(texts.str.replace_all(",", "", literal=True), pl.Float64)
    return None


def _prices(texts: pl.Series, values: pl.Series, decimal: str | None) -> pl.Series | None:
    parts = values.str.extract_groups(_PRICE).struct.unnest()
    before, amount, behind = parts.get_columns()
    if amount.has_nulls():
        return None
    signs = pl.concat([before.rename("sign"), behind.rename("sign")]).drop_nulls().unique()
    if len(signs) != 1 or (before.is_null() & behind.is_null()).any():
        return None
    amounts = texts.str.extract(_PRICE, 2)
    return _numbers(amounts, amounts.drop_nulls().unique(), decimal)


def _truths(texts: pl.Series, values: pl.Series, decimal: str | None) -> pl.Series | None:
    if not values.str.to_lowercase().is_in(["true", "false"]).all():
        return None
    return texts.str.to_lowercase() == "true"


def _dates(texts: pl.Series, values: pl.Series, decimal: str | None) -> pl.Series | None:
    """Days, or moments in UTC where one of them is not a day's first; None also where their order cannot be told."""
    if not values.str.contains(r"^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}").all():
        return None
    try:
        seconds = table_times(texts, place="").seconds
    except InputError:
        return None
    if seconds.null_count() > texts.null_count():
        return None
    moments = pl.from_epoch(seconds, time_unit="s")
    return moments.dt.date() if (seconds % _SECONDS_A_DAY == 0).all() else moments


def _lists(texts: pl.Series, values: pl.Series, decimal: str | None) -> pl.Series | None:
    lists = int(values.str.contains(BETWEEN_ENTRIES, literal=True).sum())
    share = texts.drop_nulls().str.contains(BETWEEN_ENTRIES, literal=True).mean()
    # A bar in a single name is a letter of it.
    if not lists or (lists <= _HANDFUL and share < _FAIR_SHARE):  # type: ignore[operator]
        return None
    entries = texts.str.split(BETWEEN_ENTRIES).list.eval(pl.element().str.strip_chars(BLANKS))
    return entries.list.eval(pl.element().filter(pl.element() != ""))


def _cast(texts: pl.Series, dtype: type[pl.DataType]) -> pl.Series | None:
    """Numbers; None where one of them is beyond what the type holds."""
    numbers = texts.cast(dtype, strict=False)
    beyond = numbers.null_count() > texts.null_count() or (dtype is pl.Float64 and bool(numbers.is_infinite().any()))
    return None if beyond else numbers
