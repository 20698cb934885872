"""Bytes as UTF-8: byte order marks, UTF-16, and an encoding that somebody names."""

from __future__ import annotations

import codecs
from contextlib import suppress
from importlib import import_module
from typing import Final

from glta_cli.plugin import InputError
from glta_datasets.files import BYTE_ORDER_MARK

# The longer marks first: that of UTF-32 begins with that of UTF-16.
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONVERT: Final = "convert the file, such as `iconv -f latin1 -t utf-8`"


def marked_encoding(content: bytes) -> str | None:
    """The encoding that a byte order mark names, such as utf-16; None without one, or where it is that of UTF-8."""
    return next((name for mark, name in _MARKS if content.startswith(mark)), None)


def is_read_by_line(encoding: str | None) -> bool:
    """Whether text in an encoding can be cut at line breaks, for these and quotes are bytes that are nothing else.

    Args:
        encoding: None is UTF-8.
    """
    if encoding is None:
        return True
    with suppress(LookupError, ImportError, UnicodeError):
        name = encoding_name(encoding)
        if name in ("utf-8", "ascii", "iso8859-1"):
            return True
        # A byte a letter, such as cp1252.
        letters = hasattr(import_module(f"encodings.{name.replace('-', '_')}"), "decoding_table")
        return letters and bytes(range(128)).decode(name) == bytes(range(128)).decode("ascii")
    return False


def encoding_name(encoding: str) -> str:
    """What Python calls an encoding; raises `LookupError` where there is none of this name."""
    return codecs.lookup(encoding).name


def as_utf8(content: bytes, place: str, *, encoding: str | None = None, nameable: bool = False) -> bytes:
    """Text as UTF-8 without a byte order mark; from UTF-16 and UTF-32 where a mark says so.

    Args:
        place: what to call the text in errors.
        encoding: what it is written in, such as latin-1; None takes UTF-8.
        nameable: whether the loader has an option `encoding`, for the hint.

    Raises:
        InputError: the text is not in its encoding; names the line.
    """
    if encoding is not None:
        return _decoded(content, encoding, place).removeprefix("\ufeff").encode()
    content = content.removeprefix(BYTE_ORDER_MARK)
    if content.isascii() and b"\0" not in content[:64]:
        return content
    marked = marked_encoding(content)
    if marked is not None:
        return _decoded(content, marked, place).removeprefix("\ufeff").encode()
    if b"\0" in content[:64] and len(content) % 2 == 0 and content[:64].count(0) >= len(content[:64]) // 3:
        raise InputError(
            "the text looks like UTF-16 without a byte order mark",
            location=f"{place}:1",
            hint="name it: -o encoding=utf-16-le" if nameable else "convert it: iconv -f utf-16le -t utf-8",
        )
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"not UTF-8: byte 0x{content[error.start]:02x}",
            location=f"{place}:{line}",
            hint=f"name its encoding, such as -o encoding=cp1252 or latin-1; or {_CONVERT}" if nameable else _CONVERT,
        ) from error
    return content


def _decoded(content: bytes, encoding: str, place: str) -> str:
    try:
        return content.decode(encoding)
    except LookupError as error:
        raise InputError(
            f"no encoding is called '{encoding}'", location="dataset.options.encoding", hint="such as utf-8, cp1252"
        ) from error
    except (UnicodeError, ValueError) as error:
        line = content.count(b"\n", 0, getattr(error, "start", 0)) + 1
        raise InputError(
            f"not {encoding}: {getattr(error, 'reason', error)}",
            location=f"{place}:{line}",
            hint="name the encoding it was saved in, such as -o encoding=cp1252",
        ) from error
