"""Items that stand in the item file several times, and are not described alike."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from glta_cli.data.item_text import plain

# Characters shown of a text, and of what both have in common before they differ.
_SHOWN, _COMMON = 40, 10


def repeat_warnings(items: pl.LazyFrame, name: str) -> list[str]:
    """A sentence where titles of one item differ, and one where descriptions do, each with an example.

    Args:
        items: columns `item`, `title` and perhaps `description`, as the loader read them.
        name: what to call the item file.
    """
    present = items.collect_schema().names()
    columns = ["item", *(column for column in ("title", "description") if column in present)]
    rows = items.select(pl.col(column).cast(pl.String) for column in columns).filter(pl.col("item") != "").collect()
    rows = rows.filter(rows["item"].is_duplicated())
    return [warning for column in columns[1:] for warning in _differing(rows, column, name)]


def _differing(rows: pl.DataFrame, column: str, name: str) -> Iterator[str]:
    # What is plain alike is kept alike.
    texts = (
        rows.select("item", pl.col(column).map_elements(plain, return_dtype=pl.String))
        .drop_nulls()
        .unique(maintain_order=True)
    )
    several = texts.filter(texts["item"].is_duplicated())
    if several.is_empty():
        return
    item = several["item"][0]
    first, second = several.filter(pl.col("item") == item)[column][:2]
    yield (
        f"items with several {column}s in {name}: {several['item'].n_unique():,}, such as {item}: "
        f"{_told_apart(first, second)}; the first counts"
    )


def _told_apart(first: str, second: str) -> str:
    """Both texts, cut around where they begin to differ if they are long."""
    common = next((place for place, pair in enumerate(zip(first, second, strict=False)) if pair[0] != pair[1]), _SHOWN)
    start = 0 if max(len(first), len(second)) <= _SHOWN else max(0, common - _COMMON)
    return " and ".join(f"'{_cut(text, start)}'" for text in (first, second))


def _cut(text: str, start: int) -> str:
    shown = text[start : start + _SHOWN]
    return f"{'...' if start else ''}{shown}{'...' if start + _SHOWN < len(text) else ''}"
