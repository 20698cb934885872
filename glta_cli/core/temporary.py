"""Temporary files and folders beside what they will become: whose they are, and how those of the dead are removed."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

# What an owner on another machine left cannot be told from what it still writes; nothing is written for a day.
SECONDS_OF_ANOTHERS = 86_400.0
OWNED = re.compile(r"^\..+-(?P<machine>[0-9a-f]{8})\.(?P<process>\d+)\.(?P<start>\d+)\.[0-9a-f]{8}$")
# As 0.1 called them, and Python's tempfile beneath it; nothing in them says whose they are.
UNOWNED = re.compile(r"^\..+-[a-z0-9_]{8}$")


def temporary_beside(path: Path) -> Path:
    """A name beside `path` that nothing has; what is made under it gets the user's own permissions.

    The name tells this process from every other, so that `remove_leftovers` knows what nobody will finish.
    """
    import secrets

    process = os.getpid()
    owner = f"{_machine()}.{process}.{_start_of(process) or 0}"
    return path.with_name(f".{path.name}-{owner}.{secrets.token_hex(4)}")


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """An empty folder beside `target` that takes its place when the block ends, or is removed when it fails.

    A reader sees the folder there was or the new one, never a part; what is made gets the user's own permissions.

    Args:
        target: replaced where it exists; its parent must exist.

    Example:
        from pathlib import Path

        from glta_cli.plugin import whole_folder

        with whole_folder(Path("weights")) as folder:
            (folder / "config.json").write_text("{}")
        assert Path("weights/config.json").is_file()
    """
    import shutil

    temporary = temporary_beside(target)
    try:
        temporary.mkdir()
        yield temporary
        if target.exists():
            shutil.rmtree(target)
        temporary.rename(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def leftovers(folders: Iterable[Path]) -> Iterator[Path]:
    """What dead processes left under temporary names directly in these folders.

    What a living process of this machine owns is none of it, nor what another machine may still write: everything of
    theirs, and of versions that named no owner, is left alone until nothing was written to it for a day.
    A folder that does not exist, or cannot be read, is passed over.
    """
    for folder in folders:
        with suppress(OSError):
            for path in [entry for entry in folder.iterdir() if entry.name.startswith(".")]:
                with suppress(OSError):
                    if _abandoned(path):
                        yield path


def remove_leftovers(folders: Iterable[Path]) -> list[Path]:
    """Remove the `leftovers` of these folders, and return them; one that cannot be removed is passed over."""
    import shutil

    removed = []
    for path in leftovers(folders):
        with suppress(OSError):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            removed.append(path)
    return removed


def _abandoned(path: Path) -> bool:
    owned = OWNED.match(path.name)
    if owned is not None and owned["machine"] == _machine():
        start = _start_of(int(owned["process"]))
        # A number is given to another process in time; that one started at another moment.
        return start is None or start != int(owned["start"])
    return (owned or UNOWNED.match(path.name)) is not None and _untouched_seconds(path) > SECONDS_OF_ANOTHERS


def _untouched_seconds(path: Path) -> float:
    import time

    inside = path.rglob("*") if path.is_dir() else ()
    return time.time() - max(each.lstat().st_mtime for each in (path, *inside))


@cache
def _machine() -> str:
    """8 hexadecimal digits for the machine, since it was started, and the process numbers seen from here.

    Containers share a folder without sharing their processes.
    """
    import zlib

    parts = [sys.platform]
    if sys.platform == "linux":
        with suppress(OSError):
            parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        with suppress(OSError):
            parts.append(str(Path("/proc/self/ns/pid").readlink()))
    else:
        import platform

        parts.append(platform.node())
    return f"{zlib.crc32('|'.join(parts).encode()):08x}"


def _start_of(process: int) -> int | None:
    """When a process started, as the kernel counts it; 0 where the system does not say, None where there is none."""
    if sys.platform == "linux":
        try:
            # The name of the program, in parentheses, may hold blanks and parentheses of its own.
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else int(fields[19])
    if sys.platform == "win32":
        return 0  # to ask for a process there is to end it
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except OSError:
        return 0
    return 0
