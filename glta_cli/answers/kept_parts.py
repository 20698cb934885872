"""Parts of a long answer beside the file they will become, so that a killed run goes on where it was.

    shop.parquet.parts/parts.json   what was asked, and of each finished part its size and checksum
    shop.parquet.parts/000000       the rows of the first users, and so on

Nothing else of the output is there until it is whole; then the folder is removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from glta_cli.core.errors import BusyError, GltaError, InputError
from glta_cli.core.files import file_crc32, read_sealed_json, sync, whole_file, write_bytes, write_sealed_json
from glta_cli.core.storage import storage_errors
from glta_cli.core.temporary import remove_leftovers

MANIFEST: Final = "parts.json"
LOCK: Final = "lock"
WHOLE: Final = "whole"
HINT: Final = "run the same command again when there is room; the parts that were finished are kept"


class KeptParts:
    """The finished parts of one output; `kept_parts` opens them.

    Attributes:
        output: the file they will become.
        folder: beside it.
        asked: what the parts answer, as JSON has it: parts of anything else are no use.
        finished: of each part, by number, what was said of it when it was kept.
        begun_anew: whether parts of another question were found, and removed.
    """

    def __init__(self, output: Path, folder: Path, asked: Mapping[str, Any]) -> None:
        self.output = output
        self.folder = folder
        self.asked = dict(asked)
        self.finished: dict[int, dict[str, Any]] = {}
        self.begun_anew = False
        self._read()

    def path(self, number: int) -> Path:
        """The file of a part."""
        return self.folder / f"{number:06d}"

    def keep(self, number: int, content: bytes, said: Mapping[str, Any]) -> None:
        """Write a part, and that it is finished, to the disk.

        Args:
            said: of it, as JSON has it; found again in `finished`.
        """
        path = self.path(number)
        write_bytes(path, content)
        self.finished[number] = {**said, "bytes": len(content), "crc32": file_crc32(path)}
        self._write()

    def paths(self) -> list[Path]:
        """The files of the finished parts, in order."""
        return [self.path(number) for number in sorted(self.finished)]

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

    @property
    def size(self) -> int:
        """Bytes of the finished parts."""
        return sum(part["bytes"] for part in self.finished.values())

    def _write(self) -> None:
        parts = {str(number): self.finished[number] for number in sorted(self.finished)}
        write_sealed_json(self.folder / MANIFEST, {"asked": self.asked, "parts": parts})

    def _read(self) -> None:
        """Take over what was finished of the same question; of another, or where nobody can say, begin anew."""
        remove_leftovers([self.folder])
        if not (self.folder / MANIFEST).is_file():
            self._require_own()
            self._write()
            return
        try:
            stored = read_sealed_json(self.folder / MANIFEST)
        except GltaError:
            stored = {}
        if stored.get("asked") == self.asked:
            self.finished = {int(number): part for number, part in stored["parts"].items() if self._whole(number, part)}
            return
        self.begun_anew = True
        for path in self._numbered():
            path.unlink()
        self._write()

    def _numbered(self) -> list[Path]:
        return [path for path in self.folder.iterdir() if path.name.isdigit()]

    def _whole(self, number: str, part: Mapping[str, Any]) -> bool:
        path = self.path(int(number))
        return path.is_file() and path.stat().st_size == part["bytes"] and file_crc32(path) == part["crc32"]

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
