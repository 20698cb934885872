"""Goodreads: readers' shelves by genre.

Source: the UCSD Book Graph (Wan and McAuley, RecSys 2018; Wan et al., ACL 2019).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import polars as pl

from glta_cli.plugin import Fetch, InputError, RawDataset
from glta_datasets.catalogue import GOODREADS_GENRES
from glta_datasets.delimited import UNREADABLE
from glta_datasets.json_lines import Record, columns_of, records_of, required
from glta_datasets.settings import GoodreadsSettings

ADDRESS: Final = "https://mcauleylab.ucsd.edu/public_datasets/gdrive/goodreads/byGenre"
ADDED: Final = "%a %b %d %H:%M:%S %z %Y"

# Shelves that say where a reader keeps a book, not what it is.
HOUSEKEEPING: Final = frozenset(
    (
        *(
            "to-read",
            "currently-reading",
            "read",
            "re-read",
            "own",
            "owned",
            "i-own",
            "books-i-own",
            "owned-books",
        ),
        *(
            "default",
            "favorites",
            "favourites",
            "all-time-favorites",
            "my-books",
            "my-library",
            "my-bookshelf",
        ),
        *(
            "library",
            "home-library",
            "kindle",
            "ebook",
            "ebooks",
            "e-book",
            "audiobook",
            "audiobooks",
            "audio",
        ),
        *("wish-list", "wishlist", "to-buy", "maybe", "tbr", "did-not-finish", "dnf", "abandoned"),
    )
)


class Goodreads:
    """Loads the interactions and books of one genre."""

    def __init__(self, name: str, options: GoodreadsSettings) -> None:
        self.genre = GOODREADS_GENRES[name]
        self.options = options

    def locate(self, source: Path | None, fetch: Fetch) -> Mapping[str, Path]:
        """Roles `interactions` and, if there, `items`."""
        interactions = f"goodreads_interactions_{self.genre}.json.gz"
        books = f"goodreads_books_{self.genre}.json.gz"
        if source is None:
            return {
                "interactions": fetch.url(f"{ADDRESS}/{interactions}"),
                "items": fetch.url(f"{ADDRESS}/{books}"),
            }
        folder = source if source.is_dir() else source.parent
        found = _packed_or_not(folder / interactions) if source.is_dir() else source
        if found is None:
            raise InputError(f"there is no {interactions}", location=str(source), hint="is it the right genre?")
        items = _packed_or_not(folder / books)
        return {"interactions": found} if items is None else {"interactions": found, "items": items}

    def read(self, files: Mapping[str, Path]) -> RawDataset:
        dropped: dict[str, int] = {}
        interactions = _interactions(files["interactions"], dropped)
        raw = RawDataset(interactions.lazy(), dropped=dropped)
        if "items" in files:
            wanted = set(interactions["item"].drop_nulls().unique())
            raw.items = self._books(files["items"], wanted, raw.warnings).lazy()
        else:
            raw.warnings.append(f"goodreads_books_{self.genre}.json.gz is not there: no titles, no descriptions")
        return raw

    def _books(self, path: Path, wanted: set[str], warnings: list[str]) -> pl.DataFrame:
        unreadable: dict[str, int] = {}
        rows = []
        first = True
        for record in records_of(path, unreadable):
            if first:
                required(record, ("book_id", "title"), path)
                first = False
            if record.get("book_id") in wanted:
                rows.append((record["book_id"], record.get("title"), self._description(record)))
        if unreadable:
            warnings.append(f"{unreadable[UNREADABLE]:,} lines of {path.name} cannot be read")
        types = {"item": pl.String, "title": pl.String, "description": pl.String}
        return pl.DataFrame(rows, schema=types, orient="row", strict=False)

    def _description(self, record: Record) -> str | None:
        """The most popular shelves, which are genres, then the description."""
        shelves = [
            shelf["name"]
            for shelf in record.get("popular_shelves") or []
            if isinstance(shelf, dict) and shelf.get("name") and shelf["name"] not in HOUSEKEEPING
        ]
        named = ", ".join(shelves[: self.options.shelves])
        return ". ".join(part for part in (named, record.get("description")) if part) or None


def _interactions(path: Path, dropped: dict[str, int]) -> pl.DataFrame:
    fields = ("user_id", "book_id", "rating", "date_added")
    frame = columns_of(path, dict.fromkeys(fields, pl.String), fields[:2], dropped)
    return frame.select(
        pl.col("user_id").alias("user"),
        pl.col("book_id").alias("item"),
        # 0 is what Goodreads writes for a book shelved without a rating.
        pl.col("rating").str.strip_chars().cast(pl.Float64, strict=False),
        pl.col("date_added").str.to_datetime(ADDED, time_unit="us", strict=False).dt.epoch("s").alias("timestamp"),
    )


def _packed_or_not(path: Path) -> Path | None:
    return next((p for p in (path, path.with_suffix("")) if p.is_file()), None)
