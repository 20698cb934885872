"""What a user's own files are written in, where nobody says it: UTF-8, or what Western programs on Windows write."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Final

from glta_cli.plugin import InputError
from glta_datasets.encodings import as_utf8, marked_encoding
from glta_datasets.files import chunks_of, read_bytes
from glta_datasets.json_pieces import is_large
from glta_datasets.opened_tables import PARQUET_MARK
from glta_datasets.packing import opened
from glta_datasets.table_files import IF_EMPTY

# Of the letters that UTF-8 does not explain, Western programs on Windows write these.
_GUESSED_ENCODING: Final = "cp1252"
_LOOKED_AT: Final = 64


class _Letters(Enum):
    """What a file is written in; a Parquet file says it itself and counts as plain."""

    PLAIN = "ASCII"
    UTF8 = "UTF-8"
    WESTERN = "a guess"


def common_encoding(paths: Sequence[Path]) -> str | None:
    """None where all are UTF-8 or say what they are, else what they may be.

    Raises:
        InputError: one is in UTF-8 and another is not: both are read in one encoding.
    """
    letters = {path: _letters_in(path) for path in paths}
    other = [path for path, found in letters.items() if found is _Letters.WESTERN]
    needs_utf8 = [path for path, found in letters.items() if found is _Letters.UTF8]
    if other and needs_utf8:
        raise InputError(
            f"is not UTF-8, and {needs_utf8[0].name} is: they are read in one encoding",
            location=str(other[0]),
            hint="convert one of them, such as `iconv -f cp1252 -t utf-8`",
        )
    return _GUESSED_ENCODING if other else None


def _letters_in(path: Path) -> _Letters:
    """Raises `InputError` where a file is neither UTF-8 nor may be the guess."""
    if is_large(path):
        with opened(path) as file:
            first = file.read(_LOOKED_AT)
        if first.startswith(PARQUET_MARK):
            return _Letters.PLAIN
        if b"\0" not in first and marked_encoding(first) is None:
            return _letters_of_chunks(path)
    content = read_bytes(path, if_empty=IF_EMPTY)
    if content.startswith(PARQUET_MARK):
        return _Letters.PLAIN
    try:
        as_utf8(content, str(path), nameable=True)
    except InputError as error:
        if "not UTF-8" not in error.problem or not _is_western(content):
            raise
        return _Letters.WESTERN
    return _Letters.PLAIN if content.isascii() else _Letters.UTF8


def _letters_of_chunks(path: Path) -> _Letters:
    """The same of a large file, in the memory of a few of its lines."""
    decoder, plain, western = codecs.getincrementaldecoder("utf-8")(), True, True
    wrong: InputError | None = None
    lines = 0
    for chunk in chunks_of(path, if_empty=IF_EMPTY):
        ascii_only = chunk.isascii()
        plain, western = plain and ascii_only, western and (ascii_only or _is_western(chunk))
        if wrong is None:
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError:
                wrong = _not_utf8(path, chunk, lines)
        if wrong is not None and not western:
            raise wrong
        lines += chunk.count(b"\n")
    if wrong is not None:
        return _Letters.WESTERN
    return _Letters.PLAIN if plain else _Letters.UTF8


def _not_utf8(path: Path, chunk: bytes, lines: int) -> InputError:
    """The error that a whole file in other letters gives, of one of its chunks with so many lines before it."""
    try:
        as_utf8(chunk, str(path), nameable=True)
    except InputError as error:
        line = int(str(error.location).rpartition(":")[2])
        error.location = f"{path}:{line + lines}"
        return error
    return InputError("not UTF-8", location=str(path), hint="convert the file, such as `iconv -f latin1 -t utf-8`")


def _is_western(content: bytes) -> bool:
    try:
        content.decode(_GUESSED_ENCODING)
    except UnicodeDecodeError:
        return False
    return True
