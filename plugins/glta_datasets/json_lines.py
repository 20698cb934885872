"""Files of one record a line, plain or gzip: JSON, or the Python literals of the Amazon release of 2014."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from glta_cli.plugin import InputError
from glta_datasets.delimited import UNREADABLE
from glta_datasets.files import FETCH_AGAIN, chunks_of, filled_lines, lines_of

Record = dict[str, Any]
Parser = Callable[[bytes], Any]


def columns_of(
    path: Path, fields: Mapping[str, type[pl.DataType]], needed: Iterable[str], unreadable: dict[str, int]
) -> pl.DataFrame:
    """The wanted fields of every JSON record of a file, as columns; nothing else of a record is kept.

    Args:
        fields: names and types; a field that is not there, or cannot be turned into its type, is null.
        needed: fields the first record must have.
        unreadable: lines that are no record are counted here, under "unreadable line".

    Raises:
        InputError: as `chunks_of`, no line at all is a record, or the first record lacks a needed field.
    """
    frames: list[pl.DataFrame] = []
    first: Record | None = None
    bad = 0
    for chunk in chunks_of(path):
        if first is None:
            first = next((record for record in _parsed(filled_lines(chunk), orjson.loads) if record is not None), None)
            if first is not None:
                required(first, needed, path)
        try:
            frame = pl.read_ndjson(chunk, schema=fields)
        except pl.exceptions.PolarsError:
            # One line or value that does not fit fails the chunk: line by line tells it from the others.
            frame, unreadable_here = _columns_by_line(chunk, fields)
            bad += unreadable_here
        frames.append(frame)
    _account(sum(frame.height for frame in frames), bad, path, unreadable)
    return pl.concat(frames)


def records_of(
    path: Path, unreadable: dict[str, int], parse: Parser = orjson.loads, *, if_empty: str = FETCH_AGAIN
) -> Iterator[Record]:
    """The records of a file, one object a line; blank lines are passed over.

    Args:
        unreadable: lines that are no record are counted here, under "unreadable line".
        parse: reads one line; raises ValueError or SyntaxError when it cannot.
        if_empty: the hint where the file is empty.

    Raises:
        InputError: as `lines_of`, or no line at all is a record.
    """
    good = bad = 0
    for record in _parsed(lines_of(path, if_empty=if_empty), parse):
        if record is None:
            bad += 1
        else:
            good += 1
            yield record
    _account(good, bad, path, unreadable)


def required(record: Record, needed: Iterable[str], path: Path) -> None:
    """Check the first record of a file for the fields that make it usable.

    Raises:
        InputError: names the missing fields and those there are.
    """
    missing = [name for name in needed if name not in record]
    if missing:
        raise InputError(
            f"no field {' and no field '.join(missing)}; the fields are {', '.join(list(record)[:20])}",
            location=f"{path}:1",
            hint="is this the right file?",
        )


def _columns_by_line(chunk: bytes, fields: Mapping[str, type[pl.DataType]]) -> tuple[pl.DataFrame, int]:
    """What Polars' own reader gives for a chunk where every line is a record, and how many lines are none."""
    parsed = list(_parsed(filled_lines(chunk), orjson.loads))
    records = [record for record in parsed if record is not None]
    columns = {
        name: pl.Series([record.get(name) for record in records], dtype=kind, strict=False)
        for name, kind in fields.items()
    }
    return pl.DataFrame(columns), len(parsed) - len(records)


def _parsed(lines: Iterable[bytes], parse: Parser) -> Iterator[Record | None]:
    """Each line's record, None for a line that is none."""
    for line in lines:
        try:
            record = parse(line)
        except (ValueError, SyntaxError):
            record = None
        yield record if isinstance(record, dict) else None


def _account(good: int, bad: int, path: Path, unreadable: dict[str, int]) -> None:
    if not good:
        raise InputError(
            "no line is a JSON object" if bad else "the file has only blank lines",
            location=f"{path}:1",
            hint="one record a line is expected, such as {...}",
        )
    if bad:
        unreadable[UNREADABLE] = unreadable.get(UNREADABLE, 0) + bad
