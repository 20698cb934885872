"""A user's own file of item texts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from glta_cli.plugin import InputError, SeenFile, counted
from glta_datasets.columns import listed
from glta_datasets.item_columns import roles_with_filters, typed_columns
from glta_datasets.numbers import no_value
from glta_datasets.records import lost_texts, with_ids
from glta_datasets.seen_files import seen_file
from glta_datasets.settings import TableSettings
from glta_datasets.table_columns import column_of, require_columns
from glta_datasets.table_files import read_table


@dataclass(frozen=True)
class ItemFile:
    """A file of items as it was read.

    Attributes:
        texts: columns `item`, `title` and `description` of every row.
        columns: column `item`, and all but that and the title as what their values are.
        seen: what was seen of it.
        warnings: sentences on odd rows.
    """

    texts: pl.LazyFrame
    columns: pl.LazyFrame
    seen: SeenFile
    warnings: list[str]


def read_items(path: Path, options: TableSettings) -> ItemFile:
    """Texts and columns of the items.

    Raises:
        InputError: it cannot be read, or no column is the item.
    """
    header = options.items_header
    records = read_table(path, separator=options.separator, encoding=options.encoding, header=header)
    frame = records.frame
    warnings = lost_texts(path, records.losses)
    several = options.description if isinstance(options.description, tuple) else ()
    single = options.description if isinstance(options.description, str) else None

    item = column_of(records, path, "item", options.items_item, option="items_item", likely=options.item, header=header)
    title = column_of(records, path, "title", options.title, header=header)
    require_columns(records, path, {"item": item}, ("item",), option="items_item", header=header)
    wanted: list[str | None] = [*several] if several else [single]
    columns = [column for one in wanted if (column := column_of(records, path, "description", one, header=header))]
    if title is None and not columns:
        warnings.append(f"{path.name} has no column of titles or descriptions: {listed(frame.columns)}")

    nothing = pl.Series([None], dtype=pl.String).new_from_index(0, frame.height)
    texts = [_text(frame[column], path).alias(str(number)) for number, column in enumerate(columns)]
    joined = pl.concat_str(pl.all(), separator=". ", ignore_nulls=True).replace("", None)
    described = pl.DataFrame(
        [
            frame[str(item)].alias("item"),
            (_text(frame[title], path) if title else nothing).alias("title"),
            (pl.DataFrame(texts).select(joined).to_series() if texts else nothing).alias("description"),
        ]
    )
    described = with_ids(described, str(path), ("item",))
    if nameless := int((described["item"].fill_null("") == "").sum()):
        warnings.append(
            counted(
                nameless,
                f"row of {path.name} has no item id: it describes nothing",
                f"rows of {path.name} have no item id: they describe nothing",
            )
        )
    others = [records.lists.get(name, frame[name]) for name in frame.columns if name not in (item, title)]
    kept = typed_columns(others, decimal=options.decimal)
    roles = {**dict.fromkeys(columns, "description"), str(title): "title", str(item): "item"}
    seen = seen_file(path, records, roles_with_filters(roles, kept))
    return ItemFile(described.lazy(), pl.LazyFrame([described["item"], *kept]), seen, warnings)


def _text(values: pl.Series, path: Path) -> pl.Series:
    """A column of texts; null where one says that there is none."""
    try:
        return _as_text(values)
    except pl.exceptions.PolarsError as error:
        raise InputError(
            f"column {values.name} holds {values.dtype} that is no text",
            location=str(path),
            hint="store text in UTF-8, or name another column with -o title=COLUMN or -o description=COLUMN",
        ) from error


def _as_text(values: pl.Series) -> pl.Series:
    # Under a name of its own: to an expression, one such as * is a pattern.
    frame, value = values.alias("text").to_frame(), pl.col("text")
    if isinstance(values.dtype, pl.List):
        text = value.cast(pl.List(pl.String)).list.join(", ")
    elif values.dtype.is_float():
        text = value.fill_nan(None).cast(pl.String).str.strip_suffix(".0")
    else:
        text = value.cast(pl.String)
    return frame.select(pl.when(~no_value(text)).then(text)).to_series()
