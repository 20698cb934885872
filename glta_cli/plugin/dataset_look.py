"""What a loader sees in files at a first look, from which a recipe is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from glta_cli.plugin.dataset import DatasetLoader, RawDataset
from glta_cli.plugin.seen_file import SeenFile


@dataclass(frozen=True)
class DatasetLook:
    """What a loader saw.

    Attributes:
        files: the log first.
        options: the loader's own settings that read the files as they were seen.
        raw: what it reads with them.
        offered: further options that fit the files, for a person to choose; a recipe shows them as comments.
        remarks: for options, or events among them, what to say of the value.
        told_by: how many rows, the first ones, told what the columns of the log are; None where all did.
    """

    files: tuple[SeenFile, ...]
    options: Mapping[str, Any]
    raw: RawDataset
    offered: Mapping[str, Any] = field(default_factory=dict)
    remarks: Mapping[str, str] = field(default_factory=dict)
    told_by: int | None = None


@runtime_checkable
class LookingLoader(DatasetLoader, Protocol):
    """A loader that can look at files of which nothing is known; having this is optional.

    Example:
        from glta_cli.plugin import LookingLoader
        from glta_datasets.settings import TableSettings
        from glta_datasets.table import Table

        assert isinstance(Table("table", TableSettings()), LookingLoader)
    """

    def look(self, files: Mapping[str, Path]) -> DatasetLook:
        """What each column of the files `locate` found seems to be; the loader's options settle what they name.

        Raises:
            InputError: the files cannot be read, or several columns may be the same; the hint names `-o` options.
        """
        ...
