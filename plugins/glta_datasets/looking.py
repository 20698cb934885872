"""A first look at a user's own files: what each column seems to be."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from glta_cli.plugin import InputError, RawDataset
from glta_datasets.columns import listed, looks_like_data, without_header
from glta_datasets.dates import table_times
from glta_datasets.decimals import decimal_sign, table_ratings
from glta_datasets.event_words import proposed_weights, usual_weight
from glta_datasets.roles import QUANTITY_NAMES, may_mean, named_so, plain_name, stands_for
from glta_datasets.seen_files import example_of

Fits = Callable[[pl.Series], bool]


def roles_in_log(frame: pl.DataFrame, path: Path, named: Mapping[str, Any]) -> dict[str, str]:
    """The options that name the columns of a log, and the sign before decimals where that is a comma.

    Args:
        named: options that are settled already.

    Raises:
        InputError: no column is the user or the item, or several may be.
    """
    found: dict[str, str] = {}
    pattern = named.get("timestamp_format")
    fitting: Mapping[str, Fits] = {
        "user": _any_value,
        "item": _any_value,
        "rating": lambda values: _is_rating(values, path),
        "timestamp": lambda values: _is_time(values, path, pattern),
    }
    for role, fits in fitting.items():
        if named.get(role) is not None:
            found[role] = named[role]
            continue
        free = [column for column in frame.columns if column not in [*found.values(), *named.values()]]
        column = _column_for(role, role, frame, free, path, fits)
        if column is None and role in ("user", "item"):
            # Without a value in it either, it is what its name says; the rows are counted when they are read.
            column = _column_for(role, role, frame, free, path, lambda values: True)
        if column is not None:
            found[role] = column
        elif role in ("user", "item"):
            raise _none_found(role, role, frame, path)
    rating = found.get("rating")
    if named.get("decimal") is None and rating in frame.columns and decimal_sign(frame[str(rating)], str(path)) == ",":
        found["decimal"] = ","
    return found


def events_seen(raw: RawDataset) -> tuple[dict[str, float], dict[str, Any], dict[str, str]]:
    """What each event of a log may count for, what else may be said of them, and remarks on single ones.

    Args:
        raw: read with every event counting the same.
    """
    weights = proposed_weights(raw.events)
    if not weights:
        return {}, {}, {}
    # The rarest of the heaviest says most.
    best = max(weights, key=lambda event: (weights[event], -raw.events[event].rows))
    unknown = [event for event in weights if usual_weight(event) is None]
    return weights, {"seen": [best]}, dict.fromkeys(unknown, "a word unknown here: say what it counts for")


def quantity_in(frame: pl.DataFrame, taken: Sequence[Any]) -> dict[str, Any]:
    """The option of a column that may be a row's weight, where there is one."""
    free = [c for c in frame.columns if c not in taken and plain_name(c) in QUANTITY_NAMES and _any_value(frame[c])]
    return {"weight": free[0]} if free else {}


def roles_of_items(frame: pl.DataFrame, path: Path, item: str, named: Mapping[str, Any]) -> dict[str, Any]:
    """The options that name the columns of a file of item texts.

    Args:
        item: what the column of items is called in the log.

    Raises:
        InputError: no column is the item, or several may be the item or the title.
    """
    found: dict[str, Any] = {}
    free = list(frame.columns)
    key = named.get("items_item") or (
        item if item in free else _column_for("item", "items_item", frame, free, path, _any_value)
    )
    if key is None:
        raise _none_found("item", "items_item", frame, path)
    found["items_item"] = key
    free = [column for column in free if column != key]
    title = named.get("title") or _column_for("title", "title", frame, free, path, _any_value)
    if title is not None:
        found["title"] = title
    texts = [c for c in free if c != title and (named_so("description", c) or may_mean("description", c))]
    described = named.get("description") or tuple(c for c in texts if _any_value(frame[c]))
    if described:
        found["description"] = described[0] if isinstance(described, tuple) and len(described) == 1 else described
    return found


def require_certain_item(frame: pl.DataFrame, path: Path, option: str) -> None:
    """Raise `InputError` where a column `id` is not the only one that may be the item: it may number the rows."""
    _column_for("item", option, frame, frame.columns, path, _any_value)


def require_known_items(raw: RawDataset, files: Mapping[str, Path]) -> None:
    """Raise `InputError` where not one item of the log is described."""
    if raw.items is None:
        return
    described = raw.items.select("item").collect()["item"]
    met = raw.interactions.select(pl.col("item").unique(maintain_order=True)).collect()["item"]
    bought = met.cast(pl.String).drop_nulls()
    if len(bought) and len(described) and not bought.is_in(described.implode()).any():
        raise InputError(
            f"describes no item of the log: '{described[0]}' is one here, '{bought[0]}' one there",
            location=str(files["items"]),
            hint="name the columns that hold the same ids: -o item=COLUMN -o items_item=COLUMN",
        )


def _column_for(role: str, option: str, frame: pl.DataFrame, free: Sequence[str], path: Path, fits: Fits) -> str | None:
    """The column that says it is this, else the one that may be; None where there is neither.

    Raises:
        InputError: several do.
    """
    for chosen in (named_so, may_mean, stands_for):
        columns = [column for column in free if chosen(role, column) and fits(frame[column])]
        if len(columns) == 1:
            return columns[0]
        if columns:
            shown = " and ".join(f"'{column}', such as {example_of(frame[column])}" for column in columns)
            raise InputError(
                f"several columns could be the {role}: {shown}",
                location=f"{path}:1",
                hint="name it: " + " or ".join(f"-o {option}={shlex.quote(column)}" for column in columns),
            )
    return None


def _none_found(role: str, option: str, frame: pl.DataFrame, path: Path) -> InputError:
    if looks_like_data(frame.columns):
        return without_header(frame.columns, str(path))
    return InputError(
        f"no column is known as {role}; the columns are {listed(frame.columns)}",
        location=f"{path}:1",
        hint=f"name it: -o {option}=COLUMN",
    )


def _any_value(values: pl.Series) -> bool:
    return example_of(values) is not None


def _is_rating(values: pl.Series, path: Path) -> bool:
    if values.dtype.is_nested() or values.dtype.is_temporal():
        return False
    try:
        return bool(table_ratings(values, place=str(path)).is_not_null().any())
    except InputError:
        # Numbers, whose comma is asked about once the column is chosen.
        return True


def _is_time(values: pl.Series, path: Path, pattern: str | None) -> bool:
    if values.dtype.is_nested() or values.dtype in (pl.Time, pl.Duration, pl.Binary, pl.Object, pl.Boolean):
        return False
    try:
        return bool(table_times(values, place=str(path), pattern=pattern).seconds.is_not_null().any())
    except InputError:
        # Dates, whose order is asked about once the column is chosen.
        return True
