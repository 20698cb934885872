"""The folder an export is written into: a new one, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from glta_cli.core.errors import InputError
from glta_cli.core.storage import require_room, storage_errors
from glta_cli.core.temporary import whole_folder


def checked_folder(path: Path) -> Path:
    """The path of an export, absolute, as far as can be told before anything is computed.

    Raises:
        InputError: something is there that an export would take the place of.
    """
    path = path.expanduser().absolute()
    if path.is_dir() and any(path.iterdir()):
        raise InputError("is not empty", location=str(path), hint="name a new folder: nothing is written over")
    if not path.is_dir() and (path.exists() or path.is_symlink()):
        raise InputError("is no folder", location=str(path), hint="name a new folder")
    above = next(parent for parent in path.parents if parent.exists() or parent.is_symlink())
    if not above.is_dir():
        raise InputError(f"{above} is no folder", location=str(path), hint="name a new folder elsewhere")
    return path


def write_folder(path: Path, write: Callable[[Path], None], needed: int) -> None:
    """Let `write` fill a folder that takes the path once it is whole.

    Args:
        needed: bytes it will write, about.

    Raises:
        GltaError: the disk has less room than is needed, fills up or fails, or the folder is read-only.
    """
    with storage_errors(path.parent, needed):
        path.parent.mkdir(parents=True, exist_ok=True)
        require_room(path.parent, needed)
        with whole_folder(path) as temporary:
            write(temporary)
