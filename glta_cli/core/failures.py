"""Failures of the system, such as a full disk or no memory left: each as an error a user can act on."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from glta_cli.core.errors import GltaError
from glta_cli.core.files import cache_root, default_root
from glta_cli.core.printable import shell_word

# Whatever file these are about, it is the system that fails, never the code that asked.
OF_THE_SYSTEM = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE}
)
# About a file of the user's, whoever opens it; one that is missing can be a bug of whoever looks for it.
OF_A_FILE = frozenset({errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP})
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
AGAIN = "run the same command again; what was finished stays"
HINTS: Mapping[int, str] = {
    errno.EROFS: "it is mounted read-only; --data-dir or GLTA_DATA_DIR names a folder that can be written",
    errno.EIO: f"the disk or the network drive reports an error; once it works, {AGAIN}",
    errno.ESTALE: f"the network drive lost the file; once it is there, {AGAIN}",
    errno.EMFILE: "`ulimit -n 4096` allows this shell more open files",
    errno.ENFILE: "all programs together have too many files open; close some",
    errno.ENAMETOOLONG: "give it a shorter name",
    errno.ENOENT: f"was it moved or removed meanwhile? If it is to be there, {AGAIN}",
    errno.ELOOP: "its links lead round in a circle; `ls -l` shows where each one leads",
}
OUT_OF_MEMORY_HINT = (
    "ask for less at once: a smaller `batch_size`, fewer `backbone.layers`, a smaller language model or dataset"
)
# Libraries written in Rust put the system's number into the text of errors of their own.
NUMBER_IN_TEXT = re.compile(r"\(os error (\d+)\)(?: at path \"(?P<quoted>[^\"]+)\"|: (?P<bare>/.+))?")
# What torch says of memory in plain RuntimeErrors, and the loader of libraries that find none left to lie in.
NO_MEMORY_IN_TEXT = re.compile(
    r"DefaultCPUAllocator: (?:can't allocate|not enough) memory|out of memory|CUBLAS_STATUS_ALLOC_FAILED"
    r"|failed to map segment from shared object|[Cc]annot allocate memory"
)
ASKED_FOR = re.compile(r"allocate (\d[\d.,]* ?(?:bytes|[KMGTP]?i?B))\b")
LITTLE_ROOM = 64 * 2**20


def failure_of_system(error: BaseException, path: Path | None = None) -> GltaError | None:
    """The error a user can act on where the system refused, rather than the code being wrong; None where it did not.

    It is recognised by its number, as an `OSError` has it or as the text of a library's own error hides it, and by
    what Python and torch raise when there is no memory left.

    Args:
        path: what was being written or read, named where the error itself names nothing.
    """
    if out_of_memory(error):
        asked = ASKED_FOR.search(_text(error))
        problem = f"out of memory: {asked[1]} were asked for at once" if asked else "out of memory"
        return GltaError(problem, hint=OUT_OF_MEMORY_HINT)
    number = number_of(error)
    named = named_path(error) or path
    if number is None or (named is None and number not in OF_THE_SYSTEM):
        return None
    if number in FULL:
        return _full(number, named)
    return GltaError(
        f"cannot be used: {os.strerror(number)}" if named else os.strerror(number),
        location=None if named is None else str(named),
        hint=_hint(number, named),
    )


def is_of_the_system(error: BaseException) -> bool:
    """Whether the code it was raised in is not to blame: no room, no memory, a bad disk, a file that may not be read.

    A file that is missing is not among these.
    """
    number = number_of(error)
    return out_of_memory(error) or number in OF_THE_SYSTEM or (number in OF_A_FILE and named_path(error) is not None)


def raise_failure_of_system(error: BaseException, path: Path | None = None) -> None:
    """Raise what `failure_of_system` tells, where the system alone can be to blame; else return.

    Raises:
        GltaError: with `error` as its cause.
    """
    told = failure_of_system(error, path) if is_of_the_system(error) else None
    if told is not None:
        raise told from error


@contextmanager
def failures_named(path: Path) -> Iterator[None]:
    """A failure of the system inside, such as a full disk, becomes an error about `path`; whatever else passes.

    Raises:
        GltaError: as `failure_of_system` tells it.
    """
    try:
        yield
    except GltaError:
        raise
    except Exception as error:
        raise_failure_of_system(error, path)
        raise


def out_of_memory(error: BaseException) -> bool:
    """Whether the process, or a GPU, had no memory left: nobody's fault, and no traceback helps.

    Example:
        from glta_cli.plugin import out_of_memory

        assert out_of_memory(MemoryError())
        assert not out_of_memory(RuntimeError("shapes do not match"))
    """
    if isinstance(error, MemoryError) or number_of(error) == errno.ENOMEM:
        return True
    return isinstance(error, (RuntimeError, ImportError)) and NO_MEMORY_IN_TEXT.search(_text(error)) is not None


def number_of(error: BaseException) -> int | None:
    """The system's number of an error, as an `OSError` has it or as the text of a library's own error hides it."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = _number_in_text(error)
    number = None if found is None else int(found[1])
    return number if number in errno.errorcode else None


def _number_in_text(error: BaseException) -> re.Match[str] | None:
    # Elsewhere these numbers are Windows' own.
    return NUMBER_IN_TEXT.search(_text(error)) if isinstance(error, Exception) and os.name == "posix" else None


def named_path(error: BaseException) -> Path | None:
    """The file or folder an error names itself."""
    name = getattr(error, "filename", None) if isinstance(error, OSError) else None
    if name is None and (found := _number_in_text(error)):
        name = found["quoted"] or found["bare"]
    return Path(os.fsdecode(name)) if isinstance(name, (str, bytes)) and name else None


def _full(number: int, path: Path | None) -> GltaError:
    """No room: how much is left where, and that nothing is lost."""
    import shutil

    folder = _fullest_folder() if path is None else existing_folder(path)
    if number == errno.EDQUOT:
        hint = f"your quota is used up; remove something and {AGAIN}"
    else:
        hint = f"free some room and {AGAIN}"
    if folder is None:
        return GltaError(os.strerror(number), hint=hint)
    free = shutil.disk_usage(folder).free
    return GltaError(f"{os.strerror(number)}: {free:,} bytes are free", location=str(folder), hint=hint)


def _fullest_folder() -> Path | None:
    """Of the folders that are written to by default the one with the least room, where that is little."""
    import shutil
    import tempfile

    written = [default_root(), cache_root(), Path(tempfile.gettempdir()), Path()]
    folders = [existing_folder(path / "file") for path in written]
    fullest = min(folders, key=lambda folder: shutil.disk_usage(folder).free)
    return fullest if shutil.disk_usage(fullest).free < LITTLE_ROOM else None


def existing_folder(path: Path) -> Path:
    """The folder a path lies in, or the nearest above it that is there."""
    path = path.absolute()
    return next((folder for folder in path.parents if folder.is_dir()), Path(path.anchor))


def _hint(number: int, path: Path | None) -> str | None:
    if path is not None and number in (errno.EACCES, errno.EPERM):
        shown = path if os.path.lexists(path) else existing_folder(path)
        return f"`ls -ld {shell_word(str(shown))}` shows who may use it"
    return HINTS.get(number)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return ""
