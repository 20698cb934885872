"""A user's own interactions in CSV, TSV, Parquet or JSON lines, and item texts in a second such file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import polars as pl

from glta_cli.plugin import DatasetLook, Fetch, InputError, RawDataset, did_you_mean
from glta_datasets.columns import found_column, listed, looks_like_data, without_header
from glta_datasets.dates import table_times
from glta_datasets.decimals import table_ratings
from glta_datasets.events import needs_events, weighed
from glta_datasets.ids import BLANKS, may_have
from glta_datasets.looking import (
    columns_of_texts,
    common_encoding,
    require_known_items,
    roles_in_log,
    roles_of_items,
    seen_file,
)
from glta_datasets.numbers import LETTERS_OF_NO_VALUE, no_value, with_numbers
from glta_datasets.parts import (
    by_role,
    files_by_pattern,
    interaction_files,
    joined,
    parts_in,
    place_of_all,
    require_same_columns,
)
from glta_datasets.records import Records, lost_texts, raw_dataset, with_ids
from glta_datasets.roles import COMMON_NAMES, INTERACTION_ROLES, plain_name
from glta_datasets.settings import TableSettings
from glta_datasets.table_files import SUFFIXES, read_table, rounded_ids, table_in

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
    # A source such as log/*.parquet is taken as it is written.
    takes_patterns: Final = True

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
        interactions = self._log_files(source)
        if not interactions:
            names = listed(sorted(path.name for path in source.iterdir())[:10]) or "nothing"
            raise InputError(
                f"there is no file called interactions ({', '.join(SUFFIXES)}); there is {names}",
                location=str(source),
                hint="name the file itself with --source, or parts of one log with a pattern such as 'log/*.csv'",
            )
        items = self._items_file(interactions[0].parent) or (table_in(source, "items") if source.is_dir() else None)
        return by_role(interactions) if items is None else {**by_role(interactions), "items": items}

    def _log_files(self, source: Path) -> list[Path]:
        if not source.is_dir():
            return files_by_pattern(source) or [source]
        named = table_in(source, "interactions")
        if named is not None:
            return [named]
        items = [table_in(source, "items"), self._items_file(source)]
        return parts_in(source, besides=[path for path in items if path is not None])

    def read(self, files: Mapping[str, Path]) -> RawDataset:
        paths = interaction_files(files)
        place = place_of_all(paths)
        records, warnings, columns = self._log(paths, place)
        records, events, told_of_events = weighed(records, columns["event"], self.options, place)
        rows, losses, told = with_numbers(
            records,
            place=place,
            expected=self._expected(),
            read_ratings=partial(table_ratings, place=place, decimal=self.options.decimal),
            read_times=partial(table_times, place=place, pattern=self.options.timestamp_format),
        )
        rows = with_ids(_with_parts(rows, place, named=self.options.split), place, stripped=records.stripped)
        warnings += told_of_events + told + _odd_ids(rows)
        raw = raw_dataset(rows, losses, warnings)
        raw.events = events
        raw.items = self._items(files["items"], raw.warnings) if "items" in files else None
        return raw

    def look(self, files: Mapping[str, Path]) -> DatasetLook:
        """What each column of the files seems to be, with the options that read them so; raises as `read` does."""
        named = self.options.model_dump(exclude_unset=True)
        encoding = named.get("encoding") or common_encoding([*interaction_files(files), *_present(files, "items")])
        plain = Table("table", TableSettings.model_validate({**named, "encoding": encoding}))
        options = dict(named) if encoding is None else {**named, "encoding": encoding}
        parts = interaction_files(files)
        tables = ((path, plain._table(path, self.options.format)) for path in parts)
        log, records = next(((path, table) for path, table in tables if table.read), (parts[0], None))
        if records is None:
            raise _without_rows(log)
        options |= roles_in_log(records.frame, log, named)
        columns = {str(options[role]): role for role in INTERACTION_ROLES if role in options}
        seen = [seen_file(log, records.frame, columns, encoding, self.options)]
        for path in _present(files, "items"):
            frame = plain._table(path).frame
            texts = roles_of_items(frame, path, str(options["item"]), named)
            options |= texts
            seen.append(seen_file(path, frame, columns_of_texts(texts), encoding, self.options))
        raw = Table("table", TableSettings.model_validate(options)).read(files)
        require_known_items(raw, files)
        return DatasetLook(tuple(seen), options, raw)

    def _log(self, paths: Sequence[Path], place: str) -> tuple[Records, list[str], dict[str, str | None]]:
        """All rows as they are written, in columns called by their roles; sentences on odd columns; and their names."""
        tables: list[Records] = []
        columns: list[dict[str, str | None]] = []
        warnings: list[str] = []
        for path in paths:
            records = self._table(path, self.options.format)
            names = {role: self._column(records, path, role, getattr(self.options, role)) for role in INTERACTION_ROLES}
            if not records.read and len(paths) == 1:
                raise _without_rows(path)
            if paths[0] == path:
                _require(records, path, names, ("user", "item", *(["event"] if needs_events(self.options) else [])))
            elif names != columns[0] and looks_like_data(records.frame.columns):
                raise without_header(records.frame.columns, str(path))
            else:
                require_same_columns(path, self._settled(names), paths[0], self._settled(columns[0]))
            warnings += [told for role in ("user", "item") for told in rounded_ids(records.frame, str(names[role]))]
            warnings += [told for told in _shadowed(records, names) if told not in warnings]
            columns.append(names)
            tables.append(records.renamed_by_role(names).without_nested("user", "item"))
        if not all("event" in table.frame.columns for table in tables):
            tables = [replace(table, frame=table.frame.drop("event", strict=False)) for table in tables]
        records = joined(paths, tables)
        if not records.read:
            raise _without_rows(paths[0])
        return records, warnings, columns[0]

    def _settled(self, names: Mapping[str, str | None]) -> dict[str, str | None]:
        """The columns in which all parts of a log have to agree: of events only where the options speak of them."""
        return {role: column for role, column in names.items() if role != "event" or needs_events(self.options)}

    def _expected(self) -> str:
        pattern, decimal = self.options.timestamp_format, self.options.decimal
        times = f"times are as in {pattern}" if pattern else "times are seconds, milliseconds or dates"
        return f"ratings are numbers{' with a decimal comma' if decimal == ',' else ''}; {times}"

    def _table(self, path: Path, named: str | None = None) -> Records:
        return read_table(path, separator=self.options.separator, encoding=self.options.encoding, named=named)

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
            plain = {plain_name(column): column for column in reversed(columns)}
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


def _present(files: Mapping[str, Path], role: str) -> list[Path]:
    return [files[role]] if role in files else []


def _without_rows(path: Path) -> InputError:
    return InputError("there are no rows below the header", location=str(path), hint="write one row a line below it")


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
        alike = [c for c in records.frame.columns if chosen and c != chosen and plain_name(c) == plain_name(chosen)]
        if alike:
            told.append(f"column '{chosen}' is taken as {role}, not '{alike[0]}': -o {role}=COLUMN chooses")
    return told


def _with_parts(rows: pl.DataFrame, place: str, *, named: str | None) -> pl.DataFrame:
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
        location=place,
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
