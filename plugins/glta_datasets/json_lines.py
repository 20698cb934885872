"""Files of one record a line, plain or packed: JSON, or the Python literals of the Amazon release of 2014."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

import polars as pl

from glta_cli.plugin import InputError
from glta_datasets.categories import kinds_of
from glta_datasets.files import BYTE_ORDER_MARK, FETCH_AGAIN, chunks_of, filled_lines, lines_of
from glta_datasets.ids import ExactNumber, exact_record, id_of, may_have
from glta_datasets.records import UNREADABLE, Losses, Records, line_shown

Record = dict[str, Any]
Parser = Callable[[bytes], Any]

# What a parser raises for a line that is none of its own: text that is no literal, nests too deep, or has no end.
UNPARSABLE: Final = (ValueError, SyntaxError, TypeError, RecursionError, MemoryError)

# A number of so many digits may be one that the fast reader rounded.
_MANY_DIGITS: Final = 16
_DIGITS: Final = r"^-?[0-9]{16,}$"


def columns_of(
    path: Path,
    fields: Mapping[str, type[pl.DataType]],
    needed: Iterable[str],
    losses: Losses,
    ids: Mapping[str, pl.DataType] | None = None,
) -> Records:
    """The wanted fields of every JSON record of a file, as columns; nothing else of a record is kept.

    Args:
        fields: names and types; a field that is not there, or cannot be turned into its type, is null.
        needed: fields the first record must have.
        losses: lines that are no record are counted here, under "unreadable line".
        ids: the categories that fields become, as their lines are read; None leaves them texts.

    Raises:
        InputError: as `chunks_of`, no line at all is a record, or the first record lacks a needed field.
    """
    needed = list(needed)
    frames: list[pl.DataFrame] = []
    first: Record | None = None
    bad = 0
    example: str | None = None
    for chunk in chunks_of(path):
        if first is None:
            first = next((record for record in _parsed(filled_lines(chunk), exact_record) if record is not None), None)
            if first is not None:
                required(first, needed, path)
        try:
            frame = pl.read_ndjson(chunk, schema=fields)
        except pl.exceptions.PolarsError:
            # One line or value that does not fit fails the chunk: line by line tells it from the others.
            frame, unreadable_here, shown = _columns_by_line(chunk, fields)
            if shown is not None and example is None:
                before = sum(earlier.count(b"\n") for earlier in islice(chunks_of(path), len(frames)))
                example = line_shown(before + shown[0], shown[1])
            bad += unreadable_here
        frames.append(_with_kinds(frame, ids))
    _account(sum(frame.height for frame in frames), bad, path, losses, example)
    columns = pl.concat(frames)
    if any(_may_be_rewritten(columns[name]) for name in needed if fields[name] is pl.String):
        columns = pl.concat(_with_kinds(_columns_by_line(chunk, fields)[0], ids) for chunk in chunks_of(path))
    return Records(columns, losses, places_of(path))


def records_of(
    path: Path,
    losses: Losses,
    parse: Parser = exact_record,
    *,
    if_empty: str = FETCH_AGAIN,
    lines: Iterable[bytes] | None = None,
) -> Iterator[Record]:
    """The records of a file, one object a line; blank lines are passed over.

    Args:
        losses: lines that are no record are counted here, under "unreadable line".
        parse: reads one line; raises one of `UNPARSABLE` when it cannot.
        if_empty: the hint where the file is empty.
        lines: the lines themselves, where the file has been read already.

    Raises:
        InputError: as `chunks_of`, or no line at all is a record.
    """
    good = bad = 0
    first: bytes | None = None
    example: str | None = None
    for number, line in enumerate(lines_of(path, if_empty=if_empty) if lines is None else lines, 1):
        if not line or line.isspace():
            continue
        record = _record(line, parse)
        first = line if first is None else first
        if record is None:
            bad += 1
            if example is None:
                example = line_shown(number, line.decode("utf-8", errors="replace"))
        else:
            good += 1
            yield record
    _account(good, bad, path, losses, example, first)


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


def _with_kinds(frame: pl.DataFrame, ids: Mapping[str, pl.DataType] | None) -> pl.DataFrame:
    return frame.with_columns(frame[name].cast(kind) for name, kind in (ids or {}).items())


def _may_be_rewritten(ids: pl.Series) -> bool:
    """Whether a text may be a number that lost digits or its form, a list or an object: the slow reader knows."""
    ids = kinds_of(ids)[0] if isinstance(ids.dtype, pl.Categorical) else ids
    longest = ids.str.len_bytes().max()
    long = isinstance(longest, int) and longest >= _MANY_DIGITS and bool(ids.str.contains(_DIGITS).any())
    return long or may_have(ids, ".[{")


def _columns_by_line(
    chunk: bytes, fields: Mapping[str, type[pl.DataType]]
) -> tuple[pl.DataFrame, int, tuple[int, str] | None]:
    """What the fast reader gives for a chunk where every line is a record, and how many lines are none.

    Last the first of these lines: its number in the chunk, from 1, and its text.
    """
    records, bad = [], 0
    shown: tuple[int, str] | None = None
    for number, line in enumerate(chunk.split(b"\n"), 1):
        if not line or line.isspace():
            continue
        record = _record(line, exact_record)
        if record is not None:
            records.append(record)
            continue
        bad += 1
        if shown is None:
            shown = number, line.decode("utf-8", errors="replace")
    columns = {
        name: pl.Series([_value(record.get(name), kind) for record in records], dtype=kind, strict=False)
        for name, kind in fields.items()
    }
    return pl.DataFrame(columns), bad, shown


def _value(value: Any, kind: type[pl.DataType]) -> Any:
    if kind is pl.String:
        return value if type(value) is str else id_of(value)
    # A list is no number, and one beyond 64 bits is none that a column can hold.
    if isinstance(value, list | dict) or (isinstance(value, int) and abs(value) >= 1 << 63):
        return None
    return float(value) if isinstance(value, ExactNumber) else value


def _record(line: bytes, parse: Parser) -> Record | None:
    try:
        record = parse(line)
    except UNPARSABLE:
        if not line.startswith(BYTE_ORDER_MARK):
            return None
        return _record(line.removeprefix(BYTE_ORDER_MARK), parse)
    return record if isinstance(record, dict) else None


def _parsed(lines: Iterable[bytes], parse: Parser) -> Iterator[Record | None]:
    """Each line's record, None for a line that is none."""
    return (_record(line, parse) for line in lines)


def places_of(path: Path, lines: Iterable[bytes] | None = None) -> Callable[[int], str]:
    """How to find the line of a row: the file is gone through again, which only a fault asks for.

    Args:
        lines: the lines themselves, where they are not those of the file.
    """

    def place_of(row: int) -> str:
        numbered = enumerate(lines_of(path) if lines is None else lines, 1)
        whole = (pair for pair in numbered if pair[1].strip() and _record(pair[1], exact_record) is not None)
        found = next(islice(whole, row, None), None)
        return f"row {row + 1}" if found is None else line_shown(found[0], found[1].decode("utf-8", errors="replace"))

    return place_of


def _account(good: int, bad: int, path: Path, losses: Losses, example: str | None, first: bytes | None = None) -> None:
    # Of a list with one record a line, the last line may be a record, for no comma stands behind it.
    array = first is not None and first.lstrip().startswith(b"[") and bad > good
    if not good or array:
        raise InputError(
            ("the file is a list" if good else "no line is a JSON object") if bad else "the file has only blank lines",
            location=f"{path}:1",
            hint="one record a line is expected, such as {...}"
            + (f": `jq -c '.[]' {path.name}` makes such lines of a list" if array else ""),
        )
    losses.add(UNREADABLE, bad, example)
