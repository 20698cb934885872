"""A user's own interactions in CSV, TSV, Parquet or JSON lines, and item texts in a second such file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import polars as pl

from glta_cli.plugin import Fetch, InputError, RawDataset, did_you_mean
from glta_datasets.columns import found_column, listed, looks_like_data, without_header
from glta_datasets.ids import BLANKS, may_have
from glta_datasets.numbers import LETTERS_OF_NO_VALUE, no_value, with_numbers
from glta_datasets.records import Records, lost_texts, raw_dataset, with_ids
from glta_datasets.settings import TableSettings
from glta_datasets.table_files import SUFFIXES, read_table, rounded_ids, table_in

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
    "split": ("split", "partition"),
    "title": ("title", "name", "itemname", "productname", "movietitle"),
    "description": ("description", "text", "summary", "genres", "genre", "categories", "category", "tags"),
}
INTERACTION_ROLES: Final = ("user", "item", "rating", "timestamp", "split")

# How the parts of a split are called.
PART_NAMES: Final = {
    **dict.fromkeys(("train", "training", "tr"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev", "development"), "valid"),
    **dict.fromkeys(("test", "testing", "te", "eval", "evaluation"), "test"),
}

# A whole number as programs write it that take it for a float.
_POINTED: Final = r"^-?[0-9]+\.0$"


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
        interactions = table_in(source, "interactions") if source.is_dir() else source
        if interactions is None:
            names = listed(sorted(path.name for path in source.iterdir())[:10]) or "nothing"
            raise InputError(
                f"there is no file called interactions ({', '.join(SUFFIXES)}); there is {names}",
                location=str(source),
                hint="name the file itself with --source",
            )
        items = self._items_file(interactions.parent) or (table_in(source, "items") if source.is_dir() else None)
        return {"interactions": interactions} if items is None else {"interactions": interactions, "items": items}

    def read(self, files: Mapping[str, Path]) -> RawDataset:
        path = files["interactions"]
        records = self._table(path)
        if not records.read:
            raise InputError(
                "there are no rows below the header", location=str(path), hint="write one row a line below it"
            )
        names = {role: self._column(records, path, role, getattr(self.options, role)) for role in INTERACTION_ROLES}
        _require(records, path, names, ("user", "item"))
        warnings = [told for role in ("user", "item") for told in rounded_ids(records.frame, str(names[role]))]
        warnings += _shadowed(records, names)
        records = records.renamed_by_role(names).without_nested("user", "item")
        rows, losses, told = with_numbers(
            records, place=str(path), expected="ratings are numbers; times are seconds, milliseconds or ISO dates"
        )
        rows = with_ids(_with_parts(rows, path, named=self.options.split), str(path), stripped=records.stripped)
        warnings += told + _odd_ids(rows)
        raw = raw_dataset(rows, losses, warnings)
        raw.items = self._items(files["items"], raw.warnings) if "items" in files else None
        return raw

    def _table(self, path: Path) -> Records:
        return read_table(path, separator=self.options.separator, encoding=self.options.encoding)

    def _items_file(self, beside: Path) -> Path | None:
        if self.options.items is None:
            return None
        named = Path(self.options.items).expanduser()
        paths = (beside / named, named)
        for path in paths:
            if path.is_file():
                return path
        present = next((path for path in paths if path.exists()), None)
        problem = "no such file" if present is None else "is no file, but a folder, a pipe or a device"
        raise InputError(problem, location=str(present or paths[0]), hint="dataset.options.items names it")

    def _items(self, path: Path, warnings: list[str]) -> pl.LazyFrame:
        records = self._table(path)
        warnings += lost_texts(path, records.losses)
        frame, options = records.frame, self.options
        several = options.description if isinstance(options.description, tuple) else ()
        single = options.description if isinstance(options.description, str) else None
        names = {
            "item": self._column(records, path, "item", options.items_item, option="items_item"),
            "title": self._column(records, path, "title", options.title),
            "description": None if several else self._column(records, path, "description", single),
        }
        _require(records, path, names, ("item",), option="items_item")
        columns = [self._column(records, path, "description", one) for one in several] or [names["description"]]
        if names["title"] is None and not any(columns):
            warnings.append(f"{path.name} has no column of titles or descriptions: {listed(frame.columns)}")
        nothing = pl.Series([None], dtype=pl.String).new_from_index(0, frame.height)
        texts = [_text(frame[column], path).alias(str(number)) for number, column in enumerate(columns) if column]
        joined = pl.concat_str(pl.all(), separator=". ", ignore_nulls=True).replace("", None)
        described = pl.DataFrame(
            [
                frame[str(names["item"])].alias("item"),
                (_text(frame[names["title"]], path) if names["title"] else nothing).alias("title"),
                (pl.DataFrame(texts).select(joined).to_series() if texts else nothing).alias("description"),
            ]
        )
        described = with_ids(described, str(path), ("item",))
        if nameless := int((described["item"].fill_null("") == "").sum()):
            warnings.append(f"{nameless:,} rows of {path.name} have no item id: they describe nothing")
        return described.lazy()

    def _column(
        self, records: Records, path: Path, role: str, wanted: str | None, *, option: str | None = None
    ) -> str | None:
        """The column named in the options, or the one with a common name; None when there is neither."""
        columns = records.frame.columns
        if wanted is None:
            plain = {_plain(column): column for column in reversed(columns)}
            return next((plain[name] for name in COMMON_NAMES[role] if name in plain), None)
        found = found_column(wanted, columns)
        if found is None and looks_like_data(columns):
            raise without_header(columns, str(path))
        if found is None:
            raise InputError(
                f"no column '{wanted}'; the columns are {listed(columns)}",
                location=f"{path}:1",
                hint=did_you_mean(wanted, columns) or f"-o {option or role}=COLUMN names one of them",
            )
        return found


def _plain(column: str) -> str:
    # RecBole writes the type behind the name, as in user_id:token.
    return re.sub(r"[^a-z0-9]", "", column.partition(":")[0].lower())


def _require(
    records: Records,
    path: Path,
    names: Mapping[str, str | None],
    roles: Sequence[str],
    *,
    option: str | None = None,
) -> None:
    missing = [role for role in roles if names[role] is None]
    if not missing:
        return
    columns = records.frame.columns
    if looks_like_data(columns):
        raise without_header(columns, str(path), "item,title,description" if option else "user,item,rating,timestamp")
    ways = " ".join(f"-o {option or role}=COLUMN" for role in missing)
    raise InputError(
        f"no column is known as {' or '.join(missing)}; the columns are {listed(columns)}",
        location=f"{path}:1",
        hint=f"name {'it' if len(missing) == 1 else 'them'}: {ways}"
        + ("; or name what stands between the fields: -o separator=';'" if len(columns) == 1 else ""),
    )


def _shadowed(records: Records, names: Mapping[str, str | None]) -> list[str]:
    """A sentence for each column that may as well have been meant."""
    told = []
    for role, chosen in names.items():
        alike = [c for c in records.frame.columns if chosen and c != chosen and _plain(c) == _plain(chosen)]
        if alike:
            told.append(f"column '{chosen}' is taken as {role}, not '{alike[0]}': -o {role}=COLUMN chooses")
    return told


def _with_parts(rows: pl.DataFrame, path: Path, *, named: str | None) -> pl.DataFrame:
    """The column `split` with train, valid and test; without it, if nobody named it and it holds something else."""
    if "split" not in rows.columns:
        return rows
    written = rows["split"].cast(pl.String, strict=False).str.strip_chars(BLANKS).str.to_lowercase()
    parts = written.replace_strict(PART_NAMES, default=None, return_dtype=pl.String)
    if not parts.has_nulls():
        return rows.with_columns(split=parts)
    if named is None:
        return rows.drop("split")
    row = int(parts.is_null().arg_max() or 0)
    word = rows["split"][row]
    raise InputError(
        f"{'an empty field' if word is None else repr(str(word))} in column {named} is no part of a split",
        location=str(path),
        hint="the parts are train, valid and test",
    )


def _odd_ids(rows: pl.DataFrame) -> list[str]:
    """A sentence where an id is what programs write for none, and where one number is written as two ids."""
    told = []
    for name in ("user", "item"):
        pointed = rows[name].filter(rows[name].str.ends_with(".0")).unique(maintain_order=True)
        pointed = pointed.filter(pointed.str.contains(_POINTED))
        both = pointed.filter(pointed.str.strip_suffix(".0").is_in(rows[name].unique().implode()))
        if len(both):
            plain = both[0].partition(".")[0]
            told.append(
                f"{len(both):,} {name} ids are written in two ways, such as '{plain}' and '{both[0]}': taken as two"
            )
        if not may_have(rows[name], LETTERS_OF_NO_VALUE):
            continue
        odd = rows.filter(no_value(pl.col(name)) & (pl.col(name) != ""))
        if odd.height:
            told.append(f"{odd.height:,} rows have '{odd[name][0]}' for their {name}: it is taken as an id")
    return told


def _text(values: pl.Series, path: Path) -> pl.Series:
    """A column of texts; null where one says that there is none."""
    try:
        return _as_text(values)
    except pl.exceptions.PolarsError as error:
        raise InputError(
            f"column {values.name} holds {values.dtype} that is no text",
            location=str(path),
            hint="store text in UTF-8, or name another column with -o title=COLUMN or -o description=COLUMN",
        ) from error


def _as_text(values: pl.Series) -> pl.Series:
    # Under a name of its own: to an expression, one such as * is a pattern.
    frame, value = values.alias("text").to_frame(), pl.col("text")
    if isinstance(values.dtype, pl.List):
        text = value.cast(pl.List(pl.String)).list.join(", ")
    elif values.dtype.is_float():
        text = value.fill_nan(None).cast(pl.String).str.strip_suffix(".0")
    else:
        text = value.cast(pl.String)
    return frame.select(pl.when(~no_value(text)).then(text)).to_series()
