"""What a dataset loader returns, checked where it enters: a plugin's slip is named, not stumbled over."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from glta_cli.core.errors import PluginError
from glta_cli.data.item_columns import readable_type
from glta_cli.data.splits import SPLITS
from glta_cli.plugin import RawDataset, SeenFile

INTERACTION_COLUMNS = frozenset({"user", "item", "rating", "timestamp", "split", "weight", "seen"})
ITEM_COLUMNS = frozenset({"item", "title", "description"})


def check_files(files: Any) -> None:
    """Raise `PluginError` unless they are existing files by role."""
    if not isinstance(files, Mapping) or not files:
        raise PluginError(f"locate() returns {_described(files)}, not a mapping of roles to files")
    for role, path in files.items():
        if not isinstance(path, Path) or not path.is_file():
            raise PluginError(f"locate() returns {path!r} as {role!r}, which is no file")


def check_raw(raw: Any) -> None:
    """Raise `PluginError` unless it is a `RawDataset` of lazy frames with the columns and types it has to have."""
    if not isinstance(raw, RawDataset):
        raise PluginError(f"read() returns {_described(raw)}, not a RawDataset")
    _check_columns("interactions", raw.interactions, {"user", "item"}, INTERACTION_COLUMNS)
    schema = raw.interactions.collect_schema()
    for column in ("user", "item"):
        texts = schema[column] == pl.String or isinstance(schema[column], pl.Categorical)
        _check_type("interactions", column, schema[column], texts, "strings")
    if "rating" in schema:
        _check_type("interactions", "rating", schema["rating"], schema["rating"].is_numeric(), "numbers")
    if "timestamp" in schema:
        _check_type("interactions", "timestamp", schema["timestamp"], schema["timestamp"].is_integer(), "whole seconds")
    if "weight" in schema:
        _check_type("interactions", "weight", schema["weight"], schema["weight"].is_numeric(), "numbers")
    if "seen" in schema:
        _check_type("interactions", "seen", schema["seen"], schema["seen"] == pl.Boolean, "true or false")
    if "split" in schema:
        _check_type("interactions", "split", schema["split"], schema["split"] == pl.String, "strings")
        _check_parts(raw.interactions)
    if not (isinstance(raw.files, tuple) and all(isinstance(file, SeenFile) for file in raw.files)):
        raise PluginError(f"read() returns files that are {_described(raw.files)}, not a tuple of SeenFile")
    if raw.items is not None:
        _check_columns("items", raw.items, {"item", "title"}, ITEM_COLUMNS)
        for column, kind in raw.items.collect_schema().items():
            _check_type("items", column, kind, kind in (pl.String, pl.Null), "strings")
    if raw.item_columns is not None:
        _check_item_columns(raw.item_columns)


def check_account(raw: RawDataset, rows: int) -> None:
    """Raise `PluginError` unless the records that were read are the rows kept and dropped, where they are counted."""
    if raw.read is not None and raw.read != rows:
        raise PluginError(f"read() counts {raw.read:,} records, but gives and drops {rows:,}")


def _check_columns(name: str, frame: Any, needed: set[str], known: frozenset[str]) -> None:
    if not isinstance(frame, pl.LazyFrame):
        raise PluginError(f"read() returns {name} that are {_described(frame)}, not a polars LazyFrame")
    columns = frame.collect_schema().names()
    if not needed <= set(columns) <= known:
        optional = ", ".join(sorted(known - needed))
        wanted = f"{', '.join(sorted(needed))} and perhaps {optional}"
        raise PluginError(f"read() returns {name} with the columns {', '.join(columns)}, not {wanted}")


def _check_item_columns(frame: Any) -> None:
    if not isinstance(frame, pl.LazyFrame):
        raise PluginError(f"read() returns item_columns that are {_described(frame)}, not a polars LazyFrame")
    schema = frame.collect_schema()
    if schema.get("item") != pl.String:
        raise PluginError("read() returns item_columns without a column item of strings")
    wanted = "numbers, booleans, dates, strings, or lists of these"
    for column, kind in schema.items():
        _check_type("item_columns", column, kind, readable_type(kind), wanted)


def _check_type(name: str, column: str, kind: pl.DataType, right: bool, wanted: str) -> None:
    if not right:
        raise PluginError(f"read() returns {name} whose {column} is {kind}, not {wanted}")


def _check_parts(interactions: pl.LazyFrame) -> None:
    other = (
        interactions.select(pl.col("split").filter(~pl.col("split").is_in(SPLITS, nulls_equal=True))).head(1).collect()
    )
    if other.height:
        wanted = f"{', '.join(SPLITS[:-1])} or {SPLITS[-1]}"
        raise PluginError(f"read() returns interactions whose split is {other['split'][0]!r} in a row, not {wanted}")


def _described(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
