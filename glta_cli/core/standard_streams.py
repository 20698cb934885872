"""stdout and stderr made fit for whatever they are: a full disk, a reader that leaves, an encoding of 256 letters.

Of a terminal, a pipe and a file alike: what stdout cannot take is an error with its reason, since a result that is lost
without a word looks like success; what stderr cannot take is left out, since no run should fail for its remarks.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from collections.abc import Callable
from typing import ClassVar, Final, TextIO

from glta_cli.core.errors import GltaError, ReaderLeft

STDOUT: Final = 1
STDERR: Final = 2
# What stands in for the product's own signs where an encoding has none of them: a rule of question marks is no rule.
LOOK_ALIKES = str.maketrans({"─": "-", "━": "-", "│": "|", "…": ".", "±": "~", "✓": "+", "▸": ">"})


class _Stream(io.TextIOWrapper):
    """A standard stream; its subclasses say what becomes of a descriptor that takes nothing.

    It works on text, not on bytes below Python's buffers: a signal that arrives there would have them written twice.
    """

    def __init__(self, number: int, encoding: str, *, line_buffering: bool) -> None:
        file = io.BufferedWriter(io.FileIO(number, "w", closefd=False))
        super().__init__(file, encoding, self.errors_by, line_buffering=line_buffering)
        self.number = number

    errors_by: ClassVar[str]

    def failed(self, error: OSError) -> None:
        """Called once: from then on the descriptor is /dev/null, which takes whatever a buffer still holds."""
        opened = os.open(os.devnull, os.O_WRONLY)
        os.dup2(opened, self.number)
        os.close(opened)

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self.failed(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self.failed(error)


class _Results(_Stream):
    """stdout, whose failures are told as what they are.

    Raises:
        ReaderLeft: whoever read it has gone, as `head` does.
        GltaError: it cannot be written for another reason.
    """

    errors_by = "glta-results"

    def failed(self, error: OSError) -> None:
        super().failed(error)
        if error.errno == errno.EPIPE:
            raise ReaderLeft from error
        raise _unwritable(error) from error


class _Remarks(_Stream):
    """stderr: nobody can be told that it fails, so nobody is."""

    errors_by = "glta-remarks"


def open_streams() -> None:
    """Have the process's stdout and stderr take every character, and fail as this module says.

    Streams that something else put there, such as a test that captures them, stay as they are.
    """
    _fill_descriptors()
    codecs.register_error(_Results.errors_by, _replacement(codecs.replace_errors))
    codecs.register_error(_Remarks.errors_by, _replacement(codecs.backslashreplace_errors))
    sys.stdout = _reopened(sys.stdout, STDOUT, _Results)
    sys.stderr = _reopened(sys.stderr, STDERR, _Remarks)


def _fill_descriptors() -> None:
    """Open /dev/null where the process was started without a standard stream.

    Its number would be given to the first file opened, which would then take whatever a library prints.
    """
    for number, mode in ((0, os.O_RDONLY), (STDOUT, os.O_RDONLY), (STDERR, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            # Read-only for stdout: writing to it is to fail.
            opened = os.open(os.devnull, mode)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)


def _reopened(stream: TextIO | None, number: int, kind: type[_Stream]) -> TextIO:
    """The stream over its descriptor as the given kind, with the encoding and line by line or not as before."""
    if stream is None:  # it was closed when the process started
        return kind(number, "utf-8", line_buffering=number == STDERR)
    if not isinstance(stream, io.TextIOWrapper) or not _is_plain(stream, number):
        return stream
    stream.flush()
    return kind(number, stream.encoding, line_buffering=stream.line_buffering or stream.write_through)


def _is_plain(stream: io.TextIOWrapper, number: int) -> bool:
    """Whether it is what Python itself opened over that descriptor; a console of Windows is not."""
    raw = getattr(stream.buffer, "raw", stream.buffer)
    return type(raw) is io.FileIO and raw.fileno() == number


def _replacement(
    otherwise: Callable[[UnicodeError], tuple[str | bytes, int]],
) -> Callable[[UnicodeError], tuple[str | bytes, int]]:
    """What stands for the characters an encoding lacks: a look-alike of the product's signs, else as `otherwise`."""

    def replace(error: UnicodeError) -> tuple[str | bytes, int]:
        if isinstance(error, UnicodeEncodeError):
            shown = error.object[error.start : error.end].translate(LOOK_ALIKES)
            if shown.isascii():
                return shown, error.end
            if error.end - error.start > 1:
                # One at a time: the next call has the rest.
                return replace(UnicodeEncodeError(error.encoding, error.object, error.start, error.start + 1, ""))
        return otherwise(error)

    return replace


def _unwritable(error: OSError) -> GltaError:
    """stdout that takes nothing, as the user can mend it."""
    number = error.errno or errno.EIO
    if number == errno.EBADF:
        return GltaError(
            "cannot write to stdout: it is closed", hint="`> FILE` or `> /dev/null` gives it somewhere to go"
        )
    return GltaError(
        f"cannot write to stdout: {os.strerror(number)}",
        hint="free some room, or write it elsewhere; what was finished stays" if number == errno.ENOSPC else None,
    )
