"""Whatever holds a user's own table, as columns: the format by the name, the separator by the first line."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import polars as pl

from glta_cli.plugin import InputError, counted
from glta_datasets.delimited_pieces import DialectOf, first_piece, open_delimited
from glta_datasets.dialects import Dialect, dialect_of, without_separator_line
from glta_datasets.encodings import as_utf8, marked_encoding
from glta_datasets.files import BYTE_ORDER_MARK, first_line, read_bytes, with_line_feeds
from glta_datasets.ids import EXACT_FLOATS, exact_json
from glta_datasets.json_columns import columns_of_records
from glta_datasets.json_lines import UNPARSABLE, places_of, records_of
from glta_datasets.json_pieces import first_records, open_json_lines
from glta_datasets.opened_tables import PARQUET_MARK, OpenedTable, Wanted, first_of_parquet, open_parquet, read_whole
from glta_datasets.packing import PACKED_SUFFIXES, only_member
from glta_datasets.parquet import read_parquet
from glta_datasets.records import MOST_SHOWN, UNREADABLE, Losses, Records

SUFFIXES: Final = (".csv", ".tsv", ".parquet", ".jsonl", ".csv.gz", ".tsv.gz", ".jsonl.gz")
IF_EMPTY: Final = "write one row a line, below a header in CSV and TSV"

# What other programs call the same, by their endings.
_FORMATS: Final = {
    **dict.fromkeys(("csv", "txt", "dat", "data", "inter", "item"), ","),
    **dict.fromkeys(("tsv", "tab"), "\t"),
    **dict.fromkeys(("jsonl", "ndjson", "json"), "json"),
    **dict.fromkeys(("parquet", "pq"), "parquet"),
}


def read_table(
    path: Path,
    *,
    separator: str | None = None,
    encoding: str | None = None,
    named: str | None = None,
    header: bool = True,
) -> Records:
    """All columns of a file by the ending of its name, which may be followed by that of a packed file.

    Args:
        named: the format, such as csv, where the name does not tell it.
        separator: between fields; None finds it in the first line.
        encoding: of text; None takes UTF-8, or UTF-16 behind a byte order mark.
        header: whether the first line names the columns, which are called 1, 2, ... else.

    Raises:
        InputError: unknown ending, or a file that is not what its ending says.
    """
    kind = table_format(path) if named is None else _FORMATS[named]
    if not header and kind in ("json", "parquet"):
        raise InputError("names its columns itself, whatever header says", location=str(path), hint="leave out header")
    match kind:
        case "json":
            found = encoding or marked_encoding(first_line(path)) or "utf-8"
            return replace(_json_table(path, encoding), form={"format": "json", "encoding": found})
        case "parquet":
            frame = read_parquet(read_bytes(path, if_empty=IF_EMPTY), str(path))
            return Records(frame, form={"format": "parquet"})
        case usual:
            return _delimited(path, usual, separator, encoding, header=header)


def open_table(
    path: Path,
    wanted: Wanted,
    *,
    separator: str | None = None,
    encoding: str | None = None,
    named: str | None = None,
    header: bool = True,
) -> OpenedTable:
    """The same file with those of its columns that are wanted; raises as `read_table` does."""
    kind = table_format(path) if named is None else _FORMATS[named]
    opened = None
    if kind == "parquet":
        opened = open_parquet(path, {"format": "parquet"}) if header else None
    elif kind == "json" and encoding is None and header:
        opened = open_json_lines(path, wanted, {"format": "json", "encoding": "utf-8"})
    elif kind != "json":
        opened = open_delimited(path, wanted, _dialects(kind, separator, encoding, header=header), encoding)
    if opened is not None:
        return opened
    return read_whole(read_table(path, separator=separator, encoding=encoding, named=named, header=header))


def read_beginning(
    path: Path,
    *,
    separator: str | None = None,
    encoding: str | None = None,
    named: str | None = None,
    header: bool = True,
) -> Records:
    """The first rows of a large file, by which its columns are told; all rows of any other. Raises as `read_table`."""
    kind = table_format(path) if named is None else _FORMATS[named]
    first = None
    if kind == "parquet":
        first = first_of_parquet(path) if header else None
    elif kind != "json":
        first = first_piece(path, _dialects(kind, separator, encoding, header=header), encoding)
    elif encoding is None and header:
        first = first_records(path)
    if first is not None:
        return first
    return read_table(path, separator=separator, encoding=encoding, named=named, header=header)


def _dialects(usual: str, separator: str | None, encoding: str | None, *, header: bool) -> DialectOf:
    def dialect(text: bytes, told: str | None) -> Dialect:
        return dialect_of(text, usual, separator, told, encoding or "utf-8", header=header)

    return dialect


def table_format(path: Path) -> str:
    """`json`, `parquet`, or the usual separator of a delimited format; raises `InputError` for an unknown ending."""
    name = path.name.lower()
    while name.endswith(PACKED_SUFFIXES):
        name = name.rpartition(".")[0]
    known = _FORMATS.get(name.rpartition(".")[2])
    if known is None and path.suffix.lower() == ".zip" and path.is_file():
        known = _FORMATS.get(only_member(path).lower().rpartition(".")[2])
    if known is None:
        raise InputError(
            f"its format is not told by its name; known are {', '.join(SUFFIXES)}",
            location=str(path),
            hint="rename or convert the file, or say what it is: -o format=csv, tsv, jsonl or parquet",
        )
    return known


def has_known_ending(path: Path) -> bool:
    """Whether the name tells a format."""
    try:
        table_format(path)
    except InputError:
        return False
    return True


def table_in(folder: Path, stem: str) -> Path | None:
    """The file of this name, whatever its format and the case of its ending."""
    named = {path.name.lower(): path for path in sorted(folder.iterdir(), reverse=True) if path.is_file()}
    endings = [*SUFFIXES, *(f".{kind}{packed}" for kind in _FORMATS for packed in ("", *PACKED_SUFFIXES))]
    return next((named[stem + ending] for ending in endings if stem + ending in named), None)


def rounded_ids(values: pl.Series, column: str | None) -> list[str]:
    """The warning where ids are floats too large to be told apart."""
    kind = values.dtype
    if not kind.is_float():
        return []
    limit = EXACT_FLOATS if kind == pl.Float64 else 2**24
    count = int((values.abs() >= limit).fill_null(False).sum())
    floats = counted(count, f"id of column {column} is a float", f"ids of column {column} are floats")
    return [f"{floats} beyond {limit:,}: neighbours may have become one; store text"] if count else []


def _delimited(path: Path, usual: str, separator: str | None, encoding: str | None, *, header: bool) -> Records:
    content = read_bytes(path, if_empty=IF_EMPTY)
    if content.startswith(PARQUET_MARK):
        raise InputError("this is a Parquet file", location=str(path), hint="name it .parquet")
    found = encoding or marked_encoding(content) or "utf-8"
    content = as_utf8(content, str(path), encoding=encoding, nameable=True)
    content, told = without_separator_line(content)
    return dialect_of(content, usual, separator, told, found, header=header).records(content, str(path))


# ------------------------------------------------------------------------------------------------ JSON lines


def _json_table(path: Path, encoding: str | None) -> Records:
    losses = Losses()
    lines = _lines_in(path, encoding)
    listed = _list_in(path, lines)
    if listed is not None:
        return _list_table(path, listed, losses)
    try:
        records = list(records_of(path, losses, if_empty=IF_EMPTY, lines=lines))
    except InputError:
        # Where no line can be read, the letters are a likelier reason than the records.
        as_utf8(read_bytes(path, if_empty=IF_EMPTY), str(path), nameable=True)
        raise
    columns, nested, lists = columns_of_records(records)
    return Records(columns, losses, places_of(path, lines), nested=nested, lists=lists)


def _lines_in(path: Path, encoding: str | None) -> list[bytes] | None:
    """The lines in UTF-8, where they are written in something else; None where the file may be read as it is."""
    if encoding is None and not first_line(path).startswith((b"\xff\xfe", b"\xfe\xff")):
        return None
    content = as_utf8(read_bytes(path, if_empty=IF_EMPTY), str(path), encoding=encoding, nameable=True)
    return with_line_feeds(content).split(b"\n")


def _list_in(path: Path, lines: list[bytes] | None) -> list[Any] | None:
    """The entries of a file that is one JSON list; None where it is anything else."""
    start = first_line(path) if lines is None else next((line for line in lines if line.strip()), b"")
    if not start.lstrip().startswith(b"["):
        return None
    content = read_bytes(path, if_empty=IF_EMPTY) if lines is None else b"\n".join(lines)
    try:
        listed = exact_json(content.removeprefix(BYTE_ORDER_MARK))
    except UNPARSABLE as error:
        with suppress(*UNPARSABLE):
            # Lists a line are lines all the same.
            exact_json(start)
            return None
        raise InputError(
            f"the JSON list cannot be read: {error}",
            location=str(path),
            hint="fetch the file again, or write one object a line",
        ) from error
    # A file of one line that holds a list of no object is told as lines are.
    return listed if any(isinstance(entry, dict) for entry in listed) else None


def _list_table(path: Path, listed: list[Any], losses: Losses) -> Records:
    records = [entry for entry in listed if isinstance(entry, dict)]
    numbers = [number for number, entry in enumerate(listed, 1) if isinstance(entry, dict)]
    if len(records) < len(listed):
        number, other = next((n, entry) for n, entry in enumerate(listed, 1) if not isinstance(entry, dict))
        losses.add(UNREADABLE, len(listed) - len(records), f"record {number:,}: '{str(other)[:MOST_SHOWN]}'")
    columns, nested, lists = columns_of_records(records)
    return Records(columns, losses, lambda row: f"record {numbers[row]:,}", nested=nested, lists=lists)
