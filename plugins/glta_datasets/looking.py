"""A first look at a user's own files: what each column seems to be."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from glta_cli.plugin import InputError, RawDataset, SeenColumn
from glta_datasets.columns import listed, looks_like_data, without_header
from glta_datasets.dates import table_times
from glta_datasets.decimals import table_ratings
from glta_datasets.event_words import proposed_weights, usual_weight
from glta_datasets.joined_times import date_and_time
from glta_datasets.roles import QUANTITY_NAMES, may_mean, named_so, plain_name, stands_for
from glta_datasets.seen_files import example_of
from glta_datasets.unnamed_events import unnamed_events
from glta_datasets.unnamed_times import unnamed_times

Fits = Callable[[pl.Series], bool]


def options_in(
    frame: pl.DataFrame, path: Path, items: Sequence[tuple[Path, pl.DataFrame]], settled: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """The options that name the columns of a log and of its items, and sentences on what nobody's name says.

    Args:
        frame: rows of the log.
        path: of the log.
        settled: options that are kept.

    Raises:
        InputError: as `roles_in_log` and `roles_of_items`.
    """
    named = dict(settled)
    if named.get("timestamp") is None and (both := date_and_time(frame)) is not None:
        named["timestamp"] = both
    options = {**settled, **roles_in_log(frame, path, named)}
    told: list[str] = []
    if "timestamp" not in options:
        times, told = unnamed_times(frame, path, list(options.values()), settled.get("timestamp_format"))
        options |= {} if times is None else {"timestamp": times}
    if "event" not in options:
        events, more = unnamed_events(frame, list(options.values()))
        options, told = options | ({} if events is None else {"event": events}), told + more
    for described, texts in items:
        options |= roles_of_items(texts, described, str(options["item"]), named)
    return options, told


def roles_in_log(frame: pl.DataFrame, path: Path, named: Mapping[str, Any]) -> dict[str, str]:
    """The options that name the columns of a log.

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
    return found


def with_late_values(frame: pl.DataFrame, seen: Sequence[SeenColumn]) -> pl.DataFrame | None:
    """The first rows of a log, and behind them one with a value of each column that has none in these.

    Args:
        seen: the columns of all rows.

    Returns:
        None where the first rows have a value of every column that has one.
    """
    late = {
        column.name: column.example
        for column in seen
        if column.example is not None and (column.name not in frame.columns or not _any_value(frame[column.name]))
    }
    if not late:
        return None
    absent = pl.Series([None], dtype=pl.String).new_from_index(0, frame.height)
    columns = [pl.concat([one, one.clear(1)]) for one in frame if one.name not in late]
    further = [pl.concat([absent, pl.Series([value])]).alias(name) for name, value in late.items()]
    return pl.DataFrame([*columns, *further]).select(column.name for column in seen)


def events_seen(raw: RawDataset) -> tuple[dict[str, float], dict[str, Any], dict[str, str]]:
    """What each event of a log may count for, what else may be said of them, and remarks on single ones.

    Args:
        raw: read with every event counting the same.

    Returns:
        Nothing of any where all take something back: a log of returns alone is one of interactions as it stands.
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
