"""Files as bytes, whole or some lines at a time, unpacked where they are packed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from glta_cli.plugin import InputError
from glta_datasets.packing import DAMAGE, opened

# Large enough that a parser's cost per call does not count, small enough that four of them are no memory at all.
CHUNK_BYTES: Final = 1 << 21

# Enough for the longest record of the public releases, and a bound for a file that has no lines.
LONGEST_LINE: Final = 1 << 24

FETCH_AGAIN: Final = "fetch the file again"

_TESTS: Final = {".gz": "gzip -t", ".bz2": "bzip2 -t", ".xz": "xz -t", ".zip": "unzip -t", ".zst": "zstd -t"}

# UTF-8 needs no byte order mark, but Windows programs write one in front of the first line.
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


# A carriage return alone ends a line too; before a line feed it belongs to it.
_RETURNS: Final = re.compile(rb"\r+\n")


def with_line_feeds(content: bytes) -> bytes:
    """Text whose lines all end in a line feed, where a carriage return alone ends one of them; else the text itself."""
    if content.count(b"\r") == content.count(b"\r\n"):
        return content
    return _RETURNS.sub(b"\n", content).replace(b"\r", b"\n")


def read_bytes(path: Path, *, if_empty: str = FETCH_AGAIN) -> bytes:
    """A file's bytes.

    Args:
        if_empty: the hint where there is nothing in it.

    Raises:
        InputError: missing, empty, or damaged gzip data.
    """
    with _explained(path, by_line=False), opened(path) as file:
        content = file.read()
    if not content or content.isspace():
        raise _empty(path, if_empty)
    return content


def chunks_of(path: Path, *, if_empty: str = FETCH_AGAIN) -> Iterator[bytes]:
    """A file's lines, some `CHUNK_BYTES` of whole lines at a time; the last may lack its line break.

    The next chunk is unpacked while the caller works on one: unpacking needs no interpreter lock. A line longer
    than `LONGEST_LINE` may be cut.

    Raises:
        InputError: missing, empty, or damaged gzip data; says after which line.
    """
    empty, rest = True, b""
    with _explained(path), opened(path) as file, ThreadPoolExecutor(1) as ahead:

        def read() -> bytes:
            return file.read(CHUNK_BYTES) + file.readline(LONGEST_LINE)

        following = ahead.submit(read)
        while chunk := following.result():
            following = ahead.submit(read)
            if empty:
                chunk = chunk.removeprefix(BYTE_ORDER_MARK)
                empty = False
            lines = with_line_feeds(rest + chunk)
            rest = b""
            if lines is not chunk and not chunk.endswith(b"\n"):
                # A file without line feeds is cut anywhere: the line goes on in the next chunk.
                rest = lines[lines.rfind(b"\n") + 1 :]
                lines = lines[: len(lines) - len(rest)]
            if lines:
                yield lines
        if rest:
            yield rest
    if empty:
        raise _empty(path, if_empty)


def lines_of(path: Path, *, if_empty: str = FETCH_AGAIN) -> Iterator[bytes]:
    """A file's lines without their line breaks, blank ones too, so that they can be numbered; raises as `chunks_of`."""
    for chunk in chunks_of(path, if_empty=if_empty):
        yield from chunk.removesuffix(b"\n").split(b"\n")


def filled_lines(chunk: bytes) -> Iterator[bytes]:
    """The lines of a chunk that are not blank, without their line breaks."""
    return (line for line in chunk.split(b"\n") if line and not line.isspace())


def first_line(path: Path) -> bytes:
    """The first line that is not blank, empty where all are; reads no further. Raises as `chunks_of` does."""
    return next(first_lines(path), b"")


def first_lines(path: Path) -> Iterator[bytes]:
    """The lines that are not blank, with their line breaks, each read when it is asked for; raises as `chunks_of`."""
    with _explained(path), opened(path) as file:
        line = file.readline(LONGEST_LINE)
        if not line:
            raise _empty(path, FETCH_AGAIN)
        line = line.removeprefix(BYTE_ORDER_MARK)
        while line:
            yield from (part for part in line.splitlines(keepends=True) if not part.isspace())
            line = file.readline(LONGEST_LINE)


@contextmanager
def _explained(path: Path, *, by_line: bool = True) -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        suffix = path.suffix.lower()
        kind = "gzip" if suffix == ".gz" else "packed"
        test = _TESTS.get(suffix)
        raise InputError(
            f"the {kind} data is broken: {error}",
            location=f"{path}:{_whole_lines(path) + 1}" if by_line else str(path),
            hint=FETCH_AGAIN + (f"; `{test}` tests it" if test else ""),
        ) from error
    except MemoryError as error:
        raise InputError(
            "does not fit into the memory", location=str(path), hint="free some memory, or take a part of the file"
        ) from error
    except IsADirectoryError as error:
        raise InputError("is a folder, not a file", location=str(path), hint="name the file in it") from error
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", location=str(path)) from error


def _whole_lines(path: Path) -> int:
    """How many lines can be unpacked before the damage."""
    lines = 0
    with suppress(*DAMAGE), opened(path) as file:
        while file.readline(LONGEST_LINE):
            lines += 1
    return lines


def _empty(path: Path, hint: str) -> InputError:
    return InputError("the file is empty", location=str(path), hint=hint)
