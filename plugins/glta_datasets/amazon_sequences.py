"""The LC-Rec layout: a JSON object of users and their items in order, and one of items and their texts.

Source: Zheng et al., LC-Rec, ICDE 2024.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl

from glta_cli.plugin import InputError, SeenColumn, SeenFile
from glta_datasets.encodings import as_utf8
from glta_datasets.files import FETCH_AGAIN, read_bytes
from glta_datasets.ids import exact_json, id_of
from glta_datasets.seen_records import seen_record

FORM: Final = "one JSON object"
_ITEMS_SHOWN: Final = 3


def sequences_of(path: Path) -> pl.DataFrame:
    """LC-Rec: users and their items in order; the place in the list stands for the time."""
    sequences = whole_json(path)
    if not all(isinstance(items, list) for items in sequences.values()):
        raise InputError("not an object of users and lists of items", location=str(path))
    rows = [(id_of(user), id_of(item), place) for user, items in sequences.items() for place, item in enumerate(items)]
    types = {"user": pl.String, "item": pl.String, "timestamp": pl.Int64}
    return pl.DataFrame(rows, schema=types, orient="row")


def whole_json(path: Path) -> dict[str, Any]:
    """The one JSON object that a file is; raises `InputError` where it is none."""
    try:
        content = exact_json(as_utf8(read_bytes(path), str(path)))
    except orjson.JSONDecodeError as error:
        place = f"{path}:{error.lineno}"
        raise InputError(f"not valid JSON: {error}", location=place, hint=FETCH_AGAIN) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"not valid JSON: {error}", location=str(path), hint=FETCH_AGAIN) from error
    if not isinstance(content, dict) or not content:
        raise InputError("not a JSON object", location=f"{path}:1")
    return content


def seen_sequences(path: Path, rows: int | None) -> SeenFile:
    """What is told of the file of users: the keys, the lists behind them, and the places in these."""
    user, items = next(iter(whole_json(path).items()))
    shown = ", ".join(str(id_of(item)) for item in items[:_ITEMS_SHOWN]) or None
    columns = (
        SeenColumn("key", "user", str(id_of(user))),
        SeenColumn("list behind it", "item", shown),
        SeenColumn("place in the list", "timestamp", "0"),
    )
    return SeenFile(path, {"format": FORM}, columns, rows)


def seen_sequence_items(path: Path, roles: Mapping[str, str]) -> SeenFile:
    """What is told of the file of items: the keys, and the fields of the first item."""
    content = whole_json(path)
    item, record = next(iter(content.items()))
    fields = record if isinstance(record, dict) else {}
    file = seen_record(path, FORM, fields, {name: role for name, role in roles.items() if role != "item"}, len(content))
    return SeenFile(path, file.form, (SeenColumn("key", "item", str(id_of(item))), *file.columns), file.rows)
