"""A log that is piped in, as a file: a source is read more than once, and asked for again."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Final

from glta_cli.core.downloads import download_limit
from glta_cli.core.errors import InputError
from glta_cli.core.storage import shown_bytes, storage_errors
from glta_cli.core.temporary import temporary_beside

# What a source is called that is piped in.
STANDARD_INPUT: Final = "-"
_PIECE: Final = 1 << 20
_HINT: Final = "pipe a file in, such as `zcat log.csv.gz | glta prepare table --source -`"
# The endings loaders tell a format by, of what a file of that format begins with.
_ENDINGS: Final = ((b"PAR1", ".parquet"), (b"{", ".jsonl"), (b"[", ".json"))
# Packed data do not tell what is in them.
_PACKED: Final = {
    b"\x1f\x8b": ".gz",
    b"BZh": ".bz2",
    b"\xfd7zXZ\x00": ".xz",
    b"PK\x03\x04": ".zip",
    b"\x28\xb5\x2f\xfd": ".zst",
}


def kept_input(folder: Path) -> Path:
    """Read standard input to its end into a file of `folder`, which its content names, and return that file.

    Its ending says what the content looks like: Parquet, JSON, text in columns, or packed data of a format to be named.

    Raises:
        InputError: nothing is piped in, nothing comes, or more than `GLTA_DOWNLOAD_LIMIT`.
        GltaError: the folder is read-only, or its disk is full.
    """
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("nothing is piped in", location="standard input", hint=_HINT)
    temporary, digest, size, limit = temporary_beside(folder / "input"), hashlib.sha256(), 0, download_limit()
    start = b""
    try:
        with storage_errors(folder), temporary.open("xb") as file:
            while piece := sys.stdin.buffer.read(_PIECE):
                start = start or piece[:4096]
                size += len(piece)
                if size > limit:
                    raise InputError(
                        f"has more than {shown_bytes(limit)}", location="standard input", hint="GLTA_DOWNLOAD_LIMIT"
                    )
                digest.update(piece)
                file.write(piece)
        if not size:
            raise InputError("is empty", location="standard input", hint=_HINT)
        target = folder / f"input-{digest.hexdigest()}{_ending(start)}"
        with storage_errors(folder):
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return target


def _ending(start: bytes) -> str:
    for mark, ending in _PACKED.items():
        if start.startswith(mark):
            return ending
    bare = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((ending for mark, ending in _ENDINGS if bare.startswith(mark)), ".csv")
