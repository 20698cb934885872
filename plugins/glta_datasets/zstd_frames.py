"""Zstandard: the frames of a file unpacked one after another, to the end of the last."""

from __future__ import annotations

import io
from typing import IO, Any, Final

from glta_cli.plugin import InputError

# Bytes unpacked in one go: a block of 128 KiB may take four, so no more than 128 MiB come out at once.
_PIECE: Final = 1 << 12


class DamagedZstdError(Exception):
    """The data are no frames of Zstandard, or end within one."""


class ZstdFrames(io.RawIOBase):
    """The unpacked bytes of a file; what was packed in several goes is several frames.

    Args:
        file: positioned at its start.

    Raises:
        InputError: the package that unpacks them is not installed.
        DamagedZstdError: while reading; a frame that is cut off gives all it has before.
    """

    def __init__(self, file: IO[bytes]) -> None:
        # Imported where it is needed: of many files, few are packed so.
        try:
            from zstandard import ZstdDecompressor, ZstdError
        except ImportError as error:
            raise InputError("packed with zstd, but zstandard is missing", hint="pip install zstandard") from error

        self._file, self._damage = file, ZstdError
        self._decompressor = ZstdDecompressor()
        self._frame: Any = None  # the one that is being unpacked; None between two
        self._packed = self._unpacked = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._unpacked:
            self._packed = self._packed or self._file.read(_PIECE)
            if not self._packed:
                if self._frame is not None:
                    raise DamagedZstdError("it ends within a frame")
                return 0
            self._unpacked = self._next()
        given = self._unpacked[: len(buffer)]
        self._unpacked = self._unpacked[len(given) :]
        buffer[: len(given)] = given
        return len(given)

    def _next(self) -> bytes:
        """What the packed bytes at hand unpack to, up to the end of a frame."""
        self._frame = self._frame or self._decompressor.decompressobj()
        try:
            unpacked: bytes = self._frame.decompress(self._packed)
        except self._damage as error:
            raise DamagedZstdError(str(error)) from error
        self._packed = self._frame.unused_data if self._frame.eof else b""
        if self._frame.eof:
            self._frame = None
        return unpacked
