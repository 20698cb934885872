"""What a loader saw of a file: how it is written, and what each of its columns is taken for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SeenColumn:
    """A column of a file.

    Attributes:
        name: as it is written.
        role: what it is taken for, such as `user`; `filter` where it is kept to choose items by and for nothing else;
            None where it is ignored.
        example: its first value as text; None where there is none.
    """

    name: str
    role: str | None
    example: str | None


@dataclass(frozen=True)
class SeenFile:
    """A file and its columns.

    Attributes:
        path: where it is; of a log in parts, the first of them.
        form: how it is written, such as `format`, `separator`, `encoding`, `decimal` and, of a log in parts, `parts`.
        columns: in the file's order.
        rows: its records, whatever became of them; None where they are not counted.
    """

    path: Path
    form: Mapping[str, str]
    columns: tuple[SeenColumn, ...]
    rows: int | None = None
