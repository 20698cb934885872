"""Parts of a long answer beside the file they will become, so that a killed run goes on where it was.

    shop.parquet.parts/parts.json                     what was asked
    shop.parquet.parts/000000.1024.10240.0.1c291ca3   the first part: its users, its rows, users without, its CRC-32
                                                      (before it, where there are any, users ranked by popularity)

A part is there whole, under the name that says what it is, or it is not there. Of the output nothing is there until all
of it is; then the folder is removed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zlib import crc32

from glta_cli.core.errors import BusyError, GltaError, InputError
from glta_cli.core.files import file_crc32, read_sealed_json, sync, whole_file, write_bytes, write_sealed_json
from glta_cli.core.storage import storage_errors
from glta_cli.core.temporary import remove_leftovers

MANIFEST: Final = "parts.json"
LOCK: Final = "lock"
NAME: Final = re.compile(r"(\d{6,})\.(\d+)\.(\d+)\.(\d+)\.(?:(\d+)\.)?([0-9a-f]{8})")
WHOLE: Final = "whole"
HINT: Final = "run the same command again when there is room; the parts that were finished are kept"


@dataclass(frozen=True)
class KeptPart:
    """One finished part: how many users it is of, how many rows they have, and the CRC-32 of it.

    Attributes:
        without: users who have no row.
        unknown: users ranked by popularity, as the row tells nothing of them.
    """

    number: int
    users: int
    rows: int
    without: int
    crc32: int
    unknown: int = 0

    @property
    def name(self) -> str:
        """Of its file; files are in the order of the parts."""
        unknown = f".{self.unknown}" if self.unknown else ""
        return f"{self.number:06d}.{self.users}.{self.rows}.{self.without}{unknown}.{self.crc32:08x}"

    @classmethod
    def of(cls, path: Path) -> KeptPart | None:
        """What the name of a file says; None where it is no part."""
        found = NAME.fullmatch(path.name)
        if found is None:
            return None
        number, users, rows, without = map(int, found.groups()[:4])
        return cls(number, users, rows, without, int(found[6], 16), int(found[5] or 0))


class KeptParts:
    """The finished parts of one output; `kept_parts` opens them.

    Attributes:
        output: the file they will become.
        folder: beside it.
        asked: what the parts answer, as JSON has it: parts of anything else are no use.
        finished: by number.
        begun_anew: whether parts of another question were found, and removed.
    """

    def __init__(self, output: Path, folder: Path, asked: Mapping[str, Any]) -> None:
        self.output = output
        self.folder = folder
        self.asked = dict(asked)
        self.finished: dict[int, KeptPart] = {}
        self.begun_anew = False
        self._read()

    @property
    def users(self) -> int:
        """Of all finished parts."""
        return sum(part.users for part in self.finished.values())

    def keep(self, number: int, content: bytes, *, users: int, rows: int, without: int, unknown: int = 0) -> None:
        """Write a part to the disk."""
        part = KeptPart(number, users, rows, without, crc32(content), unknown)
        write_bytes(self.folder / part.name, content)
        self.finished[number] = part

    def paths(self) -> list[Path]:
        """The files of the finished parts, in order."""
        return [self.folder / self.finished[number].name for number in sorted(self.finished)]

    def publish(self, write: Callable[[Path], None]) -> None:
        """Let `write` make a file of the parts, put it where the output belongs, and remove the parts.

        Args:
            write: given a name to write to; a reader sees nothing of it until it is whole.
        """
        whole = self.folder / WHOLE
        with whole_file(whole) as temporary:
            write(temporary)
        whole.replace(self.output)
        sync(self.output.parent)
        self.remove()

    def remove(self) -> None:
        """Remove the parts and their folder, but for what was not put there by this."""
        remove_leftovers([self.folder])
        with suppress(OSError):
            for path in [*self._numbered(), *(self.folder / name for name in (WHOLE, MANIFEST, LOCK))]:
                path.unlink(missing_ok=True)
            self.folder.rmdir()

    def _read(self) -> None:
        """Take over what was finished of the same question; of another, or where nobody can say, begin anew."""
        remove_leftovers([self.folder])
        if not (self.folder / MANIFEST).is_file():
            self._require_own()
        elif not self._asked_the_same():
            self.begun_anew = True
            for path in self._numbered():
                path.unlink()
        else:
            for path in self._numbered():
                part = KeptPart.of(path)
                if part is not None and file_crc32(path) == part.crc32:
                    self.finished[part.number] = part
                else:
                    path.unlink()
            return
        write_sealed_json(self.folder / MANIFEST, self.asked)

    def _asked_the_same(self) -> bool:
        try:
            return read_sealed_json(self.folder / MANIFEST) == self.asked
        except GltaError:
            return False

    def _numbered(self) -> list[Path]:
        return [path for path in self.folder.iterdir() if NAME.fullmatch(path.name)]

    def _require_own(self) -> None:
        """Raise `InputError` where the folder holds what was not put there by this."""
        foreign = [path for path in self.folder.iterdir() if path.name != LOCK]
        if foreign:
            (self.folder / LOCK).unlink(missing_ok=True)
            raise _something_else(self.folder, f"it holds {foreign[0].name}, which is no part of an answer")


@contextmanager
def kept_parts(output: Path, asked: Mapping[str, Any]) -> Iterator[KeptParts]:
    """The parts of an output, for one process at a time; what is finished stays until it is published.

    Raises:
        BusyError: another process answers into the same output.
        InputError: a folder of that name holds something else, or the output is a folder or lies in none.
        GltaError: the folder is read-only, or its disk is full.
    """
    from filelock import FileLock, Timeout

    require_place(output)
    folder = _folder_of(output)
    with storage_errors(output.parent, hint=HINT):
        folder.mkdir(exist_ok=True)
        lock = FileLock(folder / LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise BusyError(
                "another process answers into it", location=str(output), hint="wait for it to end, or name another"
            ) from error
        try:
            parts = KeptParts(output, folder, asked)
            try:
                yield parts
            finally:
                if not parts.finished:
                    parts.remove()
        finally:
            lock.release()


def require_place(output: Path) -> None:
    """Raise `InputError` where there cannot be such a file, or no folder of its parts."""
    if output.is_dir():
        raise InputError("is a folder", location=str(output), hint="name a file, such as out.parquet")
    if not output.parent.is_dir():
        raise InputError("there is no such folder", location=str(output.parent), hint="make it, or name another output")
    folder = _folder_of(output)
    if folder.exists() and not folder.is_dir():
        raise _something_else(folder, "it is no folder")


def _folder_of(output: Path) -> Path:
    return output.with_name(f"{output.name}.parts")


def _something_else(folder: Path, why: str) -> InputError:
    hint = "parts of the output are kept in a folder of this name meanwhile: name another output"
    return InputError(f"is in the way: {why}", location=str(folder), hint=hint)
