"""What Amazon's metadata says of an item besides its texts: brand, categories, price and what people rate."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import polars as pl

from glta_datasets.json_lines import Record
from glta_datasets.numbers import written

SCHEMA: Final[Mapping[str, pl.DataType | type[pl.DataType]]] = {
    "item": pl.String,
    "brand": pl.String,
    "categories": pl.List(pl.String),
    "main_category": pl.String,
    "price": pl.Float64,
    "average_rating": pl.Float64,
    "rating_number": pl.Int64,
}
"""Under the names of the release of 2023, whatever a release calls them."""

# A price of 2018 may be the styles of a page: of a range such as $5.99 - $9.99 the first.
_AMOUNT: Final = re.compile(r"\$?\s*(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?(?=$|\s*-)")
_LONGEST_NAME: Final = 60


def item_columns(rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    """Those columns of `SCHEMA` that a release has.

    Args:
        rows: an item's id, and behind it the `column_values` of its record.
    """
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    return frame.select("item", *(name for name in frame.columns[1:] if frame[name].count()))


def column_values(record: Record) -> tuple[Any, ...]:
    """The values of an item's record, in the order of `SCHEMA`."""
    return (
        _name(record.get("brand") or record.get("store")),
        _categories(record.get("categories") or record.get("category")),
        _name(record.get("main_category") or record.get("main_cat")),
        _amount(record.get("price")),
        _amount(record.get("average_rating")),
        _whole(record.get("rating_number")),
    )


def _name(value: Any) -> str | None:
    """A name; what pages of 2018 were saved with in its place is none."""
    name = written(value.strip()) if isinstance(value, str) else None
    return name if name is not None and len(name) <= _LONGEST_NAME and "<" not in name else None


def _categories(value: Any) -> list[str] | None:
    """Every category of every path, the topmost first."""
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list):
        return None
    paths = [each for each in value if isinstance(each, list)] or [value]
    names = dict.fromkeys(name for path in paths for each in path if (name := _name(each)) is not None)
    return list(names) or None


def _amount(value: Any) -> float | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    found = _AMOUNT.match(value.strip()) if isinstance(value, str) else None
    return None if found is None else float(found[1].replace(",", "") + (found[2] or ""))


def _whole(value: Any) -> int | None:
    amount = _amount(value)
    return None if amount is None or amount != int(amount) else int(amount)
