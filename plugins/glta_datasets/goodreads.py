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
from glta_datasets.ids import id_of
from glta_datasets.item_columns import typed_columns
from glta_datasets.json_lines import Record, columns_of, records_of, required
from glta_datasets.numbers import written
from glta_datasets.records import Losses, lost_texts, raw_dataset, with_ids
from glta_datasets.seen_records import seen_json_lines
from glta_datasets.settings import GoodreadsSettings
from glta_datasets.times import absurd_years

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


# What the fields of the two files are taken for.
INTERACTION_FIELDS: Final = {"user_id": "user", "book_id": "item", "rating": "rating", "date_added": "timestamp"}
BOOK_FIELDS: Final = {
    "book_id": "item",
    "title": "title",
    "popular_shelves": "description",
    "description": "description",
}

BOOK_COLUMNS: Final = ("publication_year", "language_code", "format", "num_pages", "average_rating", "ratings_count")


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
        losses = Losses()
        interactions = _interactions(files["interactions"], losses)
        raw = raw_dataset(interactions, losses, absurd_years(interactions["timestamp"]))
        raw.files = (seen_json_lines(files["interactions"], INTERACTION_FIELDS, raw.read),)
        if "items" in files:
            wanted = set(interactions["item"].drop_nulls().unique())
            books, columns = self._books(files["items"], wanted, raw.warnings)
            raw.items, raw.item_columns = books.lazy(), columns.lazy()
            roles = {**dict.fromkeys(BOOK_COLUMNS, "filter"), **BOOK_FIELDS}
            raw.files += (seen_json_lines(files["items"], roles),)
        else:
            raw.warnings.append(f"goodreads_books_{self.genre}.json.gz is not there: no titles, no descriptions")
        return raw

    def _books(self, path: Path, wanted: set[str], warnings: list[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Title and description of the wanted books, and what else is said of them."""
        losses = Losses()
        rows, also = [], []
        first = True
        for record in records_of(path, losses):
            if first:
                required(record, ("book_id", "title"), path)
                first = False
            item, title = id_of(record.get("book_id")), record.get("title")
            if item in wanted:
                rows.append((item, written(title) if isinstance(title, str) else None, self._description(record)))
                also.append([self._shelves(record), *(id_of(record.get(name)) for name in BOOK_COLUMNS)])
        warnings += lost_texts(path, losses)
        types = {"item": pl.String, "title": pl.String, "description": pl.String}
        books = pl.DataFrame(rows, schema=types, orient="row", strict=False)
        told = [("shelves", pl.List(pl.String)), *((name, pl.String()) for name in BOOK_COLUMNS)]
        columns = typed_columns(pl.DataFrame(also, schema=told, orient="row").get_columns())
        return books, pl.DataFrame([books["item"], *columns])

    def _description(self, record: Record) -> str | None:
        """The most popular shelves, which are genres, then the description."""
        named = ", ".join(self._shelves(record))
        description = record.get("description")
        return ". ".join(part for part in (named, description) if part and isinstance(part, str)) or None

    def _shelves(self, record: Record) -> list[str]:
        """The most popular shelves, without those that say where a reader keeps a book."""
        popular = record.get("popular_shelves")
        shelves = [
            shelf["name"]
            for shelf in (popular if isinstance(popular, list) else [])
            if isinstance(shelf, dict) and isinstance(shelf.get("name"), str) and shelf["name"] not in HOUSEKEEPING
        ]
        return [name for name in shelves if name][: self.options.shelves]


def _interactions(path: Path, losses: Losses) -> pl.DataFrame:
    fields = ("user_id", "book_id", "rating", "date_added")
    frame = columns_of(path, dict.fromkeys(fields, pl.String), fields[:2], losses).frame
    interactions = frame.select(
        pl.col("user_id").alias("user"),
        pl.col("book_id").alias("item"),
        # 0 is what Goodreads writes for a book shelved without a rating.
        pl.col("rating").str.strip_chars().cast(pl.Float64, strict=False),
        pl.col("date_added").str.to_datetime(ADDED, time_unit="us", strict=False).dt.epoch("s").alias("timestamp"),
    )
    return with_ids(interactions, str(path))


def _packed_or_not(path: Path) -> Path | None:
    return next((p for p in (path, path.with_suffix("")) if p.is_file()), None)
