"""Disks that are full, broken or read-only: one error that names the folder, what is needed and what is free."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from glta_cli.core.errors import GltaError
from glta_cli.core.failures import named_path, number_of

FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
UNWRITABLE = {errno.EROFS, errno.EACCES, errno.EPERM}
BROKEN = {errno.EIO}
IN_DATA_FOLDER = (
    "run the same command again when there is room; what was published is kept. --data-dir names another folder"
)


def as_os_error(error: BaseException, path: Path) -> OSError | None:
    """The system's error behind one of safetensors or polars, with the file's name; None where there is none."""
    number = number_of(error)
    if number is None:
        return None
    return OSError(number, os.strerror(number), str(named_path(error) or path))


class ReadOnlyError(GltaError):
    """What was to be made cannot be written where it belongs; what is there can be read."""


@contextmanager
def storage_errors(folder: Path, needed: int = 0, *, hint: str | None = None) -> Iterator[None]:
    """Inside, an error of the disk that `folder` is on becomes a `GltaError`; every other one stays what it is.

    Args:
        needed: bytes about to be written, where they are known.
        hint: what to do where there is no room; None of what is published in a data folder.

    Raises:
        GltaError: the disk is full or broken.
        ReadOnlyError: the folder is read-only.
    """
    try:
        yield
    except GltaError:
        raise
    except Exception as error:
        cause = as_os_error(error, folder)
        told = None if cause is None else _told(cause, folder, needed, hint)
        if told is None:
            raise
        raise told from error


def _told(cause: OSError, folder: Path, needed: int, hint: str | None) -> GltaError | None:
    inside = Path(str(cause.filename)).absolute().is_relative_to(folder.absolute())
    where = f" ({cause.filename})" if inside and str(cause.filename) != str(folder) else ""
    if cause.errno in FULL:
        return no_room(folder if inside else Path(str(cause.filename)).parent, needed if inside else 0, where, hint)
    if cause.errno in BROKEN:
        return GltaError(
            f"the disk failed{where}: {cause.strerror}",
            location=str(folder),
            hint="look at the disk; what was published is kept, and the same command goes on from there",
        )
    if cause.errno in UNWRITABLE and inside:
        read = "what is up to date can be read there; to make something new, choose a folder with --data-dir"
        return ReadOnlyError(
            f"cannot be written to{where}: {cause.strerror}",
            location=str(folder),
            hint=read if hint is None else "name a file in a folder that can be written to",
        )
    return None


def no_room(folder: Path, needed: int, where: str = "", hint: str | None = None) -> GltaError:
    """The error that a disk is full."""
    free = free_bytes(folder)
    figures = [f"about {shown_bytes(needed)} are needed"] if needed else []
    figures += [] if free is None else [f"{shown_bytes(free)} are free"]
    return GltaError(
        f"no space left on the disk{where}: {', '.join(figures)}",
        location=str(folder),
        hint=hint or IN_DATA_FOLDER,
    )


def require_room(folder: Path, needed: int) -> None:
    """Raise `GltaError` with both figures where fewer bytes are free in `folder` than `needed`."""
    free = free_bytes(folder)
    if free is not None and free < needed:
        raise no_room(folder, needed)


def free_bytes(folder: Path) -> int | None:
    """Bytes this user may still write on the disk of a folder, or of the one it will be made in; None if unknown."""
    import shutil

    for place in (folder, *folder.parents):
        try:
            return shutil.disk_usage(place).free
        except FileNotFoundError:
            continue
        except OSError:
            return None
    return None


def shown_bytes(count: int) -> str:
    """A number of bytes as people say it: 512 bytes, 3.4 MB."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count} bytes"
