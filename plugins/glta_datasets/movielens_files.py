"""A file of MovieLens, on its own or within an archive."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from glta_cli.plugin import InputError
from glta_datasets.files import FETCH_AGAIN, read_bytes
from glta_datasets.packing import BROKEN_ARCHIVE, Stream, UnpackedBytes, opened, read_member, unpacked_limit


@dataclass(frozen=True)
class EditionFile:
    """One file of an edition.

    Attributes:
        path: of the file or of the archive it is in.
        member: its name there; None of a file on its own.
    """

    path: Path
    member: str | None = None

    @property
    def place(self) -> str:
        """What to call it in errors."""
        return str(self.path) if self.member is None else f"{self.path}/{Path(self.member).name}"

    def read(self) -> bytes:
        """All of it; raises `InputError` where it is missing, empty or damaged."""
        if self.member is None:
            return read_bytes(self.path)
        with reading_archive(self.path), zipfile.ZipFile(self.path) as archive:
            return read_member(archive, self.member, self.path)

    @contextmanager
    def opened(self) -> Iterator[Stream]:
        """Its bytes as a stream, within the limit that a packed file has."""
        if self.member is None:
            with opened(self.path) as stream:
                yield stream
            return
        with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as member:
            yield UnpackedBytes(member, self.path, unpacked_limit(self.path))


@contextmanager
def reading_archive(path: Path) -> Iterator[None]:
    """Raise `InputError` where an archive is damaged, or what is read of it does not fit into the memory."""
    try:
        yield
    except BROKEN_ARCHIVE as error:
        raise InputError(
            f"not a readable archive: {error}", location=str(path), hint=f"{FETCH_AGAIN}; `unzip -t` tests it"
        ) from error
    except MemoryError as error:
        raise InputError("does not fit into the memory", location=str(path), hint="free some memory") from error
