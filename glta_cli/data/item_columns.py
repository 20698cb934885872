"""Further columns of the items, such as brand and price: what a prepared dataset keeps to choose items by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from glta_cli.plugin import RawDataset

ITEM_COLUMNS_FILE: Final = "item_columns.parquet"
DETAIL: Final = "item_columns"
"""Of the manifest: each column with its kind; not there in what was prepared before columns were kept."""

NUMBER: Final = "number"
DATE: Final = "date"
TEXT: Final = "text"
LIST: Final = "list"
TRUTH: Final = "true or false"

# Characters of a text on average: who chooses by a column names its value.
LONGEST_ON_AVERAGE: Final = 200
MOST_COLUMNS: Final = 200
# Of one column in memory, and so of one in the file.
MOST_BYTES: Final = 512 << 20


@dataclass(frozen=True)
class KeptColumns:
    """Columns of the items of a catalogue.

    Attributes:
        table: row i is item i; numbers, booleans, dates, strings, or lists of strings.
        left_out: names of columns that are not kept, and why.
    """

    table: pl.DataFrame
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def kinds(self) -> dict[str, str]:
        """What each column holds: number, text, date, list, or true or false."""
        return {name: kind_of(dtype) for name, dtype in self.table.schema.items()}


def kept_columns(raw: RawDataset, item_ids: Sequence[str]) -> KeptColumns:
    """The further columns a loader gives of the items of a catalogue; of several rows of an item the first value.

    Left out are columns without a value, of long texts, and all behind the first 200.
    """
    if raw.item_columns is None:
        return KeptColumns(pl.DataFrame())
    catalogue = pl.DataFrame({"item": item_ids}, schema={"item": pl.String})
    given = raw.item_columns.filter(pl.col("item").is_in(item_ids)).collect()
    if given["item"].is_duplicated().any():
        given = given.group_by("item", maintain_order=True).agg(pl.all().drop_nulls().first())
    table = catalogue.join(given, on="item", how="left", maintain_order="left").drop("item")
    kept: list[pl.Series] = []
    left_out: dict[str, str] = {}
    for column in table.get_columns():
        plain = _plain(column)
        reason = _reason_against(plain) or ("too many columns" if len(kept) == MOST_COLUMNS else None)
        if reason is None:
            kept.append(plain)
        else:
            left_out[column.name] = reason
    return KeptColumns(pl.DataFrame(kept), left_out)


def grown_columns(
    known: pl.DataFrame | None,
    fresh: pl.DataFrame | None,
    places: NDArray[np.int64],
    told: NDArray[np.bool_],
    count: int,
) -> pl.DataFrame | None:
    """The columns of a dataset that grew: what its source says now, and of items it says nothing of what was known.

    Args:
        known: of the items before, which are the first of all; None where none were kept.
        fresh: of the items of the source as it is now.
        places: where each of these stands among all `count`, [n].
        told: of which of them the source says anything, [n].
    """
    if fresh is None or not fresh.width:
        known = fresh if known is None else known
        return None if known is None else _placed(known, np.arange(known.height), count)
    said = np.flatnonzero(told)
    now = _placed(fresh[said], places[said], count)
    if known is None or not known.width:
        return now
    before = _placed(known, np.arange(known.height), count)
    saying = np.zeros(count, dtype=bool)
    saying[places[said]] = True
    mask = pl.Series(saying)
    return pl.DataFrame([column.zip_with(mask, _earlier(before, column)) for column in now.get_columns()])


def changed_columns(known: pl.DataFrame | None, now: pl.DataFrame | None) -> int:
    """Of how many known items a column has another value; of all where the columns are others."""
    if now is None or (known is None and not now.width):
        return 0
    if known is None or not known.width:
        return now.height
    if known.schema != now.schema:
        return known.height
    now = now.head(known.height)
    other = np.zeros(known.height, dtype=bool)
    for name in known.columns:
        other |= known[name].ne_missing(now[name]).to_numpy()
    return int(other.sum())


def kind_of(dtype: pl.DataType) -> str:
    """What a kept column of that type holds, in a word."""
    if dtype == pl.Boolean:
        return TRUTH
    if dtype.is_numeric():
        return NUMBER
    if dtype.is_temporal():
        return DATE
    return LIST if isinstance(dtype, pl.List) else TEXT


def readable_type(dtype: pl.DataType) -> bool:
    """Whether a loader may give a column of that type."""
    if isinstance(dtype, pl.List):
        return readable_type(dtype.inner) and not dtype.inner.is_nested()  # type: ignore[arg-type]
    simple = dtype in (pl.Boolean, pl.String, pl.Date, pl.Null)
    return simple or dtype.is_numeric() or isinstance(dtype, pl.Datetime | pl.Categorical | pl.Enum)


def _plain(column: pl.Series) -> pl.Series:
    """The column in one of the types that are kept; empty texts and lists are null."""
    kind = column.dtype
    if isinstance(kind, pl.List):
        entry = pl.element().str.strip_chars()
        texts = column.cast(pl.List(pl.String)).list.eval(entry.filter(entry != ""))
        return texts.set(texts.list.len() == 0, None)
    if isinstance(kind, pl.Datetime):
        return column.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if kind.time_zone else column
    if isinstance(kind, pl.Decimal):
        return column.cast(pl.Float64)
    if kind.is_float():
        return column.fill_nan(None)
    if isinstance(kind, pl.Categorical | pl.Enum | pl.String | pl.Null):
        texts = column.cast(pl.String).str.strip_chars()
        return texts.replace("", None)
    return column


def _reason_against(column: pl.Series) -> str | None:
    """Why a column is not kept; None where it is."""
    if column.null_count() == len(column):
        return "nothing in it"
    if column.estimated_size() > MOST_BYTES:
        return "too large"
    texts = column.drop_nulls()
    if texts.dtype == pl.List(pl.String):
        texts = texts.explode()
    if texts.dtype == pl.String and (texts.str.len_chars().mean() or 0) > LONGEST_ON_AVERAGE:  # type: ignore[operator]
        return "long texts"
    return None


def _placed(table: pl.DataFrame, places: NDArray[np.int64], count: int) -> pl.DataFrame:
    """The rows of a table at these places of `count`; null elsewhere."""
    rows = np.full(count, -1, dtype=np.int64)
    rows[places] = np.arange(len(places))
    gathered = pl.Series(rows).replace(-1, None)
    return table.select(pl.all().gather(gathered)) if table.width else pl.DataFrame()


def _earlier(before: pl.DataFrame, column: pl.Series) -> pl.Series:
    """A column as it was, in the type it has now; null where it was not there, or its values are none of that type."""
    if column.name in before.columns:
        try:
            return before[column.name].cast(column.dtype, strict=False)
        except pl.exceptions.PolarsError:
            pass
    return pl.Series(column.name, [None], dtype=column.dtype).new_from_index(0, len(column))
