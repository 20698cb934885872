"""A user's own interactions in CSV, TSV, Parquet or JSON lines, and item texts in a second such file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from glta_cli.plugin import Fetch, InputError, RawDataset, did_you_mean
from glta_datasets.delimited import UNREADABLE, read_delimited, with_numbers
from glta_datasets.files import read_bytes
from glta_datasets.json_lines import Record, records_of
from glta_datasets.settings import TableSettings

SUFFIXES: Final = (".csv", ".tsv", ".parquet", ".jsonl", ".csv.gz", ".tsv.gz", ".jsonl.gz")

IF_EMPTY: Final = "write one row a line, below a header in CSV and TSV"

# Names in lower case without marks: User ID, user_id and userId are one.
COMMON_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "user": (
        "user",
        "userid",
        "uid",
        "customer",
        "customerid",
        "reviewerid",
        "visitorid",
        "memberid",
        "account",
    ),
    "item": (
        *(
            "item",
            "itemid",
            "iid",
            "product",
            "productid",
            "movie",
            "movieid",
            "book",
            "bookid",
            "parentasin",
        ),
        *("asin", "sku", "article", "articleid", "track", "trackid", "song", "songid", "isbn", "id"),
    ),
    "rating": ("rating", "score", "stars", "overall"),
    "timestamp": ("timestamp", "time", "unixtime", "unixreviewtime", "datetime", "date", "createdat", "ts"),
    "title": ("title", "name", "itemname", "productname", "movietitle"),
    "description": ("description", "text", "summary", "genres", "genre", "categories", "category", "tags"),
}


class Table:
    """Loads a user's own files."""

    needs_source: Final = True

    def __init__(self, name: str, options: TableSettings) -> None:
        self.options = options

    def locate(self, source: Path | None, fetch: Fetch) -> Mapping[str, Path]:
        """Roles `interactions` and, if named or beside it in a folder, `items`."""
        if source is None:
            raise InputError(
                "a table has no place to be fetched from",
                location="dataset table",
                hint="name your file: glta prepare table --source ratings.csv",
            )
        interactions = _in_folder(source, "interactions") if source.is_dir() else source
        if interactions is None:
            names = ", ".join(sorted(path.name for path in source.iterdir())[:10]) or "nothing"
            raise InputError(
                f"there is no file called interactions ({', '.join(SUFFIXES)}); there is {names}",
                location=str(source),
                hint="name the file itself with --source",
            )
        items = self._items_file(interactions.parent) or (_in_folder(source, "items") if source.is_dir() else None)
        return {"interactions": interactions} if items is None else {"interactions": interactions, "items": items}

    def read(self, files: Mapping[str, Path]) -> RawDataset:
        path = files["interactions"]
        frame, unreadable = read_table(path)
        wanted = {name: getattr(self.options, name) for name in ("user", "item", "rating", "timestamp")}
        names = {name: _column(frame, path, name, column) for name, column in wanted.items()}
        _require(frame, path, names, ("user", "item"))
        frame = frame.select(pl.col(column).alias(name) for name, column in names.items() if column)
        frame = frame.with_columns(_as_text(frame, name) for name in ("user", "item"))
        rows, dropped = with_numbers(
            frame,
            place=str(path),
            expected="ratings are numbers; times are seconds, milliseconds or ISO dates",
        )
        bad = unreadable + dropped.get(UNREADABLE, 0)
        raw = RawDataset(rows, dropped={UNREADABLE: bad} if bad else {})
        raw.items = self._items(files["items"], raw.warnings) if "items" in files else None
        return raw

    def _items_file(self, beside: Path) -> Path | None:
        if self.options.items is None:
            return None
        named = Path(self.options.items).expanduser()
        for path in (beside / named, named):
            if path.is_file():
                return path
        raise InputError("no such file", location=str(beside / named), hint="dataset.options.items names it")

    def _items(self, path: Path, warnings: list[str]) -> pl.LazyFrame:
        frame, unreadable = read_table(path)
        if unreadable:
            warnings.append(f"{unreadable:,} lines of {path.name} cannot be read")
        options = self.options
        several = options.description if isinstance(options.description, tuple) else ()
        single = options.description if isinstance(options.description, str) else None
        names = {
            "item": _column(frame, path, "item", options.items_item, option="items_item"),
            "title": _column(frame, path, "title", options.title),
            "description": None if several else _column(frame, path, "description", single),
        }
        _require(frame, path, names, ("item",), option="items_item")
        columns = [_column(frame, path, "description", one) for one in several] if several else [names["description"]]
        if names["title"] is None and not any(columns):
            warnings.append(f"{path.name} has no column of titles or descriptions: {', '.join(frame.columns)}")
        text = [_as_text(frame, column) for column in columns if column]
        return frame.select(
            _as_text(frame, str(names["item"])).alias("item"),
            (_as_text(frame, names["title"]) if names["title"] else pl.lit(None, pl.String)).alias("title"),
            pl.concat_str(text, separator=". ", ignore_nulls=True).replace("", None).alias("description")
            if text
            else pl.lit(None, pl.String).alias("description"),
        ).lazy()


def read_table(path: Path) -> tuple[pl.DataFrame, int]:
    """All columns of a file by the suffix of its name, and how many lines could not be read.

    Raises:
        InputError: unknown suffix, or a file that is not what its suffix says.
    """
    match path.name.removesuffix(".gz").rpartition(".")[2].lower():
        case "csv":
            return read_delimited(read_bytes(path, if_empty=IF_EMPTY), str(path), separator=",")
        case "tsv":
            return read_delimited(read_bytes(path, if_empty=IF_EMPTY), str(path), separator="\t")
        case "jsonl":
            unreadable: dict[str, int] = {}
            frame = _from_records(list(records_of(path, unreadable, if_empty=IF_EMPTY)))
            return frame, unreadable.get(UNREADABLE, 0)
        case "parquet":
            try:
                return pl.read_parquet(read_bytes(path, if_empty=IF_EMPTY)), 0
            except pl.exceptions.PolarsError as error:
                raise InputError(f"not a Parquet file: {error}", location=str(path)) from error
        case _:
            raise InputError(
                f"its format is not told by its name; known are {', '.join(SUFFIXES)}",
                location=str(path),
                hint="rename or convert the file",
            )


def _from_records(records: Sequence[Record]) -> pl.DataFrame:
    """Columns of strings: in JSON lines a field may be a number here and a string there."""
    names = dict.fromkeys(name for record in records for name in record)
    return pl.DataFrame(
        {name: pl.Series([_scalar(record.get(name)) for record in records], dtype=pl.String) for name in names}
    )


def _scalar(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(part for part in map(_scalar, value) if part)
    return str(value)


def _in_folder(folder: Path, stem: str) -> Path | None:
    return next((folder / f"{stem}{suffix}" for suffix in SUFFIXES if (folder / f"{stem}{suffix}").is_file()), None)


def _column(frame: pl.DataFrame, path: Path, role: str, wanted: str | None, *, option: str | None = None) -> str | None:
    """The column named in the options, or the one with a common name; None when there is neither."""
    if wanted is not None:
        if wanted not in frame.columns:
            raise InputError(
                f"no column '{wanted}'; the columns are {', '.join(frame.columns)}",
                location=f"{path}:1",
                hint=did_you_mean(wanted, frame.columns) or f"name it with -o {option or role}=COLUMN",
            )
        return wanted
    plain = {re.sub(r"[^a-z0-9]", "", column.lower()): column for column in reversed(frame.columns)}
    return next((plain[name] for name in COMMON_NAMES[role] if name in plain), None)


def _require(
    frame: pl.DataFrame,
    path: Path,
    names: Mapping[str, str | None],
    roles: Sequence[str],
    *,
    option: str | None = None,
) -> None:
    missing = [role for role in roles if names[role] is None]
    if missing:
        raise InputError(
            f"no column is known as {' or '.join(missing)}; the columns are {', '.join(frame.columns)}",
            location=f"{path}:1",
            hint=f"name {'it' if len(missing) == 1 else 'them'}: "
            + " ".join(f"-o {option or role}=COLUMN" for role in missing),
        )


def _as_text(frame: pl.DataFrame, column: str) -> pl.Expr:
    """Ids and texts as strings; a whole number that Parquet holds as a float loses its `.0`."""
    kind = frame.schema[column]
    if kind.is_float():
        whole = pl.col(column) == pl.col(column).round()
        integer = pl.col(column).cast(pl.Int64, strict=False).cast(pl.String)
        return (
            pl.when(pl.col(column).is_nan())
            .then(None)
            .when(whole)
            .then(integer)
            .otherwise(pl.col(column).cast(pl.String))
        )
    if isinstance(kind, pl.List):
        return pl.col(column).cast(pl.List(pl.String)).list.join(", ")
    return pl.col(column).cast(pl.String)
