"""Files of one record a line, plain or gzip: JSON, or the Python literals of the Amazon release of 2014."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import orjson

from glta_cli.errors import InputError

Record = dict[str, Any]
Parser = Callable[[bytes], Any]

# Enough for the longest record of the public releases, and a bound for a file that has no lines.
LONGEST_LINE: Final = 1 << 24


def lines_of(path: Path) -> Iterator[bytes]:
    """The lines of a file, unpacked where its name ends in .gz.

    Raises:
        InputError: missing, empty, or damaged gzip data; says after which line.
    """
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            while line := file.readline(LONGEST_LINE):
                number += 1
                yield line
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(
            f"the gzip data is broken: {error}",
            location=f"{path}:{number + 1}",
            hint="fetch the file again; `gzip -t` tests it",
        ) from error
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", location=str(path)) from error
    if number == 0:
        raise InputError("the file is empty", location=str(path), hint="fetch the file again")


def records_of(path: Path, unreadable: dict[str, int], parse: Parser = orjson.loads) -> Iterator[Record]:
    """The records of a file, one object a line; blank lines are passed over.

    Args:
        unreadable: lines that are no record are counted here, under "unreadable line".
        parse: reads one line; raises ValueError or SyntaxError when it cannot.

    Raises:
        InputError: as `lines_of`, or no line at all is a record.
    """
    good = bad = 0
    for line in lines_of(path):
        if line.isspace():
            continue
        try:
            record = parse(line)
        except (ValueError, SyntaxError):
            record = None
        if isinstance(record, dict):
            good += 1
            yield record
        else:
            bad += 1
    if not good:
        raise InputError(
            "no line is a JSON object" if bad else "the file has only blank lines",
            location=f"{path}:1",
            hint="one record a line is expected, such as {...}",
        )
    if bad:
        unreadable["unreadable line"] = unreadable.get("unreadable line", 0) + bad


def required(record: Record | None, fields: tuple[str, ...], path: Path) -> None:
    """Check the first record of a file for the fields that make it usable.

    Raises:
        InputError: names the missing fields and those there are.
    """
    have = list(record or {})
    missing = [name for name in fields if name not in have]
    if missing:
        raise InputError(
            f"no field {' and no field '.join(missing)}; the fields are {', '.join(have[:20])}",
            location=f"{path}:1",
            hint="is this the right file?",
        )
