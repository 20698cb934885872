"""Compressed files: what packs a file, told by its bytes, and how much it may unpack to."""

from __future__ import annotations

import bz2
import io
import lzma
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from isal import igzip, isal_zlib

from glta_cli.plugin import InputError
from glta_datasets.zstd_frames import DamagedZstdError, ZstdFrames

# What files of these kinds begin with, whatever they are called.
_GZIP: Final = b"\x1f\x8b\x08"
_BZIP2: Final = tuple(b"BZh%d1AY&SY" % level for level in range(1, 10))
_XZ: Final = b"\xfd7zXZ\x00"
_ZIP: Final = b"PK\x03\x04"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
PACKED_STARTS: Final = (_GZIP, *_BZIP2, _XZ, _ZIP, _ZSTD)

PACKED_SUFFIXES: Final = (".gz", ".bz2", ".xz", ".zip", ".zst")

LIMIT_VARIABLE: Final = "GLTA_MAX_UNPACKED_GB"
# Logs and reviews unpack to three to twenty times their size, a file made to fill the memory to a thousand times.
_USUAL_RATIO: Final = 100
_ALWAYS_ALLOWED: Final = 512 << 20
# No deflate stream unpacks to more.
_LARGEST_RATIO: Final = 1032
_PIECE: Final = 1 << 24
_BUFFER: Final = 1 << 17

# What damaged data of one kind or another raises. The type stubs of isal call the class of its errors an error.
DAMAGE: Final[tuple[type[Exception], ...]] = (  # type: ignore[assignment]
    igzip.BadGzipFile,
    isal_zlib.error,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    NotImplementedError,  # an archive packed in a way that Python does not know
    RuntimeError,  # an archive with a password
    EOFError,
    DamagedZstdError,
)

BROKEN_ARCHIVE: Final[tuple[type[Exception], ...]] = (*DAMAGE, OSError)


class UnpackedBytes:
    """A stream of unpacked bytes that stops at a limit.

    Raises:
        InputError: from `read` and `readline`, once more than `limit` bytes came out.
    """

    def __init__(self, stream: IO[bytes], path: Path, limit: int) -> None:
        self.stream, self.path, self.limit = stream, path, limit
        self.given = 0

    def read(self, size: int = -1) -> bytes:
        if size >= 0:
            return self._counted(self.stream.read(size))
        pieces = []
        while piece := self._counted(self.stream.read(_PIECE)):
            pieces.append(piece)
        return b"".join(pieces)

    def readline(self, size: int = -1) -> bytes:
        return self._counted(self.stream.readline(size))

    def _counted(self, content: bytes) -> bytes:
        self.given += len(content)
        if self.given > self.limit:
            raise too_large(self.path, self.limit)
        return content


Stream = IO[bytes] | UnpackedBytes


@contextmanager
def opened(path: Path) -> Iterator[Stream]:
    """A file's bytes, unpacked where its name ends in .gz or its first bytes say gzip, bzip2, xz, zip or zstd.

    Raises:
        InputError: an archive of several files; while reading, once more came out than `unpacked_limit`.
    """
    # Opened twice: to go back in a buffered file means to copy all of it on the way.
    with path.open("rb", buffering=0) as file:
        start = file.read(10)
    with path.open("rb") as file:
        if path.suffix.lower() == ".gz" or start.startswith(_GZIP):
            with igzip.open(file, "rb") as unpacked:
                yield _limited(unpacked, path)
        elif start.startswith(_BZIP2):
            with bz2.open(file, "rb") as unpacked:
                yield _limited(unpacked, path)
        elif start.startswith(_XZ):
            with lzma.open(file, "rb") as unpacked:
                yield _limited(unpacked, path)
        elif start.startswith(_ZIP):
            with zipfile.ZipFile(file) as archive, archive.open(_only_member(archive, path)) as unpacked:
                yield _limited(unpacked, path)
        elif start.startswith(_ZSTD):
            yield _limited(io.BufferedReader(ZstdFrames(file), _BUFFER), path)
        else:
            yield file


def unpacked_limit(path: Path) -> int:
    """Bytes a packed file may unpack to: `GLTA_MAX_UNPACKED_GB`, else a hundred times its size, and 512 MiB at least.

    Raises:
        InputError: the variable holds no positive number.
    """
    named = os.environ.get(LIMIT_VARIABLE)
    if named is None:
        return max(_ALWAYS_ALLOWED, _USUAL_RATIO * path.stat().st_size)
    try:
        limit = float(named) * (1 << 30)
    except ValueError:
        limit = 0.0
    if not 0 < limit < 1 << 62:
        raise InputError(f"'{named}' is no number of gigabytes", location=LIMIT_VARIABLE, hint="such as 8")
    return int(limit)


def too_large(path: Path, limit: int) -> InputError:
    """The error of a file that unpacks to more than it may."""
    return InputError(
        f"unpacks to more than {limit / (1 << 30):.3g} GB from {path.stat().st_size / (1 << 20):.3g} MB: refused",
        location=str(path),
        hint=f"if the file is meant to be as large, set {LIMIT_VARIABLE} to the gigabytes it may have",
    )


def read_member(archive: zipfile.ZipFile, member: str, path: Path) -> bytes:
    """One file of an archive, within the limit of the whole; raises `InputError` beyond."""
    with archive.open(member) as stream:
        return UnpackedBytes(stream, path, unpacked_limit(path)).read()


def only_member(path: Path) -> str:
    """The name of the one file in a zip archive; raises `InputError` where it is none, or holds several."""
    try:
        with zipfile.ZipFile(path) as archive:
            return _only_member(archive, path).filename
    except BROKEN_ARCHIVE as error:
        raise InputError(
            f"not a readable archive: {error}", location=str(path), hint="`unzip -t` tests it; fetch the file again"
        ) from error


def _limited(stream: IO[bytes], path: Path) -> Stream:
    limit = unpacked_limit(path)
    cannot_reach_it = isinstance(stream, igzip.IGzipFile) and path.stat().st_size * _LARGEST_RATIO <= limit
    return stream if cannot_reach_it else UnpackedBytes(stream, path, limit)


def _only_member(archive: zipfile.ZipFile, path: Path) -> zipfile.ZipInfo:
    files = [member for member in archive.infolist() if not member.is_dir() and "__MACOSX" not in member.filename]
    if len(files) != 1:
        names = ", ".join(member.filename for member in files[:5]) or "none"
        raise InputError(
            f"an archive of {len(files)} files, not of one: {names}",
            location=str(path),
            hint="unpack it and name the file that is meant with --source",
        )
    return files[0]
