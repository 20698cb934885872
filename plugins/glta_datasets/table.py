"""A user's own interactions in CSV, TSV, Parquet or JSON lines, and item texts in a second such file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import polars as pl

from glta_cli.plugin import DatasetLook, EventRows, Fetch, InputError, RawDataset, SeenColumn, SeenFile
from glta_datasets.categories import categories, with_categories
from glta_datasets.columns import listed, looks_like_data, without_header
from glta_datasets.common_encoding import common_encoding
from glta_datasets.dates import table_times
from glta_datasets.decimals import sign_of, sign_seen, table_ratings
from glta_datasets.events import is_event_column, needs_events, weighed
from glta_datasets.ids import BLANKS
from glta_datasets.joined_times import date_and_time, joined_name, with_joined_times
from glta_datasets.looking import events_seen, options_in, quantity_in, with_late_values
from glta_datasets.numbers import with_numbers
from glta_datasets.odd_ids import odd_ids
from glta_datasets.opened_tables import OpenedTable, Wanted
from glta_datasets.parts import (
    by_role,
    files_by_pattern,
    interaction_files,
    joined,
    parts_in,
    place_of_all,
    require_same_columns,
    twins,
    without_links,
)
from glta_datasets.records import NOT_IN_EVENTS, NOT_KEPT, REPEATED_HEADER, Records, raw_dataset, with_ids
from glta_datasets.roles import INTERACTION_ROLES
from glta_datasets.seen_files import seen_columns, seen_file
from glta_datasets.settings import TableSettings
from glta_datasets.table_columns import column_of, require_columns, shadowed, wanted_columns
from glta_datasets.table_files import SUFFIXES, open_table, read_beginning, read_table, rounded_ids, table_in
from glta_datasets.table_items import read_items

# How the parts of a split are called.
PART_NAMES: Final = {
    **dict.fromkeys(("train", "training", "tr"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev", "development"), "valid"),
    **dict.fromkeys(("test", "testing", "te", "eval", "evaluation"), "test"),
}


@dataclass(frozen=True)
class Log:
    """A log as it was read.

    Attributes:
        records: all rows, in columns called by their roles.
        seen: the first of its files, with the rows of all.
        warnings: sentences on odd columns and values.
        events: what became of each kind of event.
        decimal: the sign before decimals of ratings.
    """

    records: Records
    seen: SeenFile
    warnings: list[str]
    events: dict[str, EventRows] = field(default_factory=dict)
    decimal: str = "."


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
        return self._read(files)[0]

    def _read(self, files: Mapping[str, Path]) -> tuple[RawDataset, str]:
        """The files, and the sign before decimals of ratings."""
        # What each file holds stays in the dataset's identity: where a link did no harm, it is found as before.
        paths, told = without_links(interaction_files(files))
        place = place_of_all(paths)
        log = self._numbered(paths, place)
        rows = _with_parts(_unrated(log.records.frame), place, named=self.options.split)
        rows = with_categories(with_ids(rows, place, stripped=log.records.stripped), "user", "item")
        told += twins(paths, add_up="weight" in rows.columns)
        raw = raw_dataset(rows, log.records.losses, told + log.warnings + odd_ids(rows))
        raw.files = (log.seen,)
        raw.events = log.events
        # Asked for a few rows that were lost: what the file says is not kept in memory for that.
        raw.place_of = lambda row: self._numbered(paths, place).records.place_of(row)
        raw.no_loss = (REPEATED_HEADER, NOT_IN_EVENTS, NOT_KEPT)
        raw.keeps_unrated = True
        if "items" in files:
            items = read_items(files["items"], self.options)
            raw.items, raw.item_columns = items.texts, items.columns
            raw.files += (items.seen,)
            raw.warnings += items.warnings
            raw.catalogue = self.options.unmet_items
        return raw, log.decimal

    def look(self, files: Mapping[str, Path]) -> DatasetLook:
        """What each column of the files seems to be, with the options that read them so; raises as `read` does."""
        named = self.options.model_dump(exclude_unset=True)
        encoding = named.get("encoding") or common_encoding([*interaction_files(files), *_present(files, "items")])
        plain = Table("table", TableSettings.model_validate({**named, "encoding": encoding}))
        settled = dict(named) if encoding is None else {**named, "encoding": encoding}
        parts = interaction_files(files)
        tables = ((path, plain._beginning(path)) for path in parts)
        log, records = next(((path, table) for path, table in tables if table.read), (parts[0], None))
        if records is None:
            raise _without_rows(log)
        beginning, items = records.frame, [(path, plain._items_table(path).frame) for path in _present(files, "items")]
        try:
            options, told = options_in(beginning, log, items, settled)
        except InputError:
            # A column with nothing in the first rows may be the one that is missed.
            opened = plain._opened(log, wanted_columns(plain.options))
            late = with_late_values(beginning, seen_columns(opened.first.frame, {}))
            if late is None:
                raise
            beginning = late
            options, told = options_in(beginning, log, items, settled)
        found = _look(files, beginning, options, told)
        late = with_late_values(beginning, found.files[0].columns)
        if late is not None:
            del found  # not twice in memory
            found = _look(files, late, *options_in(late, log, items, settled))
        return replace(found, told_by=records.read if records.read < (found.raw.read or 0) else None)

    def _numbered(self, paths: Sequence[Path], place: str) -> Log:
        """The log with its events weighed, and its ratings and times as numbers."""
        log = self._log(paths, place)
        written, seen, column = log.records, log.seen, _named(log.seen, "event")
        # All parts tell what the first may not: that there are kinds of events.
        if column is not None and not self._tells_events(column, written):
            written = replace(written, frame=written.frame.drop("event", strict=False))
            seen = replace(seen, columns=tuple(_without_role(one, "event") for one in seen.columns))
            column = None
        records, events, told_of_events = weighed(written, column, self.options, place)
        records, told = with_numbers(
            records,
            place=place,
            expected=self._expected(),
            read_ratings=partial(table_ratings, place=place, decimal=self.options.decimal),
            read_times=partial(table_times, place=place, pattern=self.options.timestamp_format),
        )
        decimal = self.options.decimal or sign_of(written.frame, place)
        return Log(records, seen, log.warnings + told_of_events + told, events, decimal)

    def _tells_events(self, column: str, records: Records) -> bool:
        named = needs_events(self.options)
        return "event" in records.frame.columns and (named or is_event_column(column, records.frame["event"]))

    def _log(self, paths: Sequence[Path], place: str) -> Log:
        """All rows as they are written, in columns called by their roles."""
        tables: list[Records] = []
        columns: list[dict[str, str | None]] = []
        warnings: list[str] = []
        seen: list[SeenFile] = []
        ids, wanted = {"user": categories(), "item": categories()}, wanted_columns(self.options)
        for path in paths:
            opened = self._opened(path, wanted)
            first = opened.first
            times = self._joined_times(first)
            if times is not None:
                first = with_joined_times(first, times)
            names = {role: self._column(first, path, role, times) for role in INTERACTION_ROLES}
            if not first.read and len(paths) == 1:
                raise _without_rows(path)
            if paths[0] == path:
                needed = ("user", "item", *(["event"] if needs_events(self.options) else []))
                require_columns(first, path, names, needed, header=self.options.header)
            elif names != columns[0] and self.options.header and looks_like_data(first.frame.columns):
                raise without_header(first.frame.columns, str(path), numbered="header")
            else:
                require_same_columns(path, self._settled(names), paths[0], self._settled(columns[0]))
            records = _taken(opened, names, times, ids)
            for role in ("user", "item"):
                warnings += rounded_ids(records.frame[role], names[role])
            warnings += [told for told in shadowed(first, names) if told not in warnings]
            columns.append(names)
            if not seen or (not seen[0].rows and first.read):
                seen = [self._seen(path, first, names, times, len(paths))]
            tables.append(records)
        if not all("event" in table.frame.columns for table in tables):
            tables = [replace(table, frame=table.frame.drop("event", strict=False)) for table in tables]
        records = joined(paths, tables)
        if not records.read:
            raise _without_rows(paths[0])
        records = replace(records, frame=with_categories(records.frame, "user", "item"))
        return Log(records, replace(seen[0], rows=records.read), warnings)

    def _settled(self, names: Mapping[str, str | None]) -> dict[str, str | None]:
        """The columns in which all parts of a log have to agree: of events only where the options speak of them."""
        return {role: column for role, column in names.items() if role != "event" or needs_events(self.options)}

    def _opened(self, path: Path, wanted: Wanted) -> OpenedTable:
        options = self.options
        return open_table(
            path,
            wanted,
            separator=options.separator,
            encoding=options.encoding,
            named=options.format,
            header=options.header,
        )

    def _beginning(self, path: Path) -> Records:
        options = self.options
        return read_beginning(
            path,
            separator=options.separator,
            encoding=options.encoding,
            named=options.format,
            header=options.header,
        )

    def _items_table(self, path: Path) -> Records:
        options = self.options
        return read_table(path, separator=options.separator, encoding=options.encoding, header=options.items_header)

    def _joined_times(self, records: Records) -> Sequence[str] | None:
        """The columns that together are the time, where these are several."""
        named = self.options.timestamp
        if isinstance(named, tuple):
            return [name for name in named if column_of(records, Path(), "timestamp", name) is not None]
        return date_and_time(records.frame) if named is None else None

    def _column(self, records: Records, path: Path, role: str, times: Sequence[str] | None) -> str | None:
        if role == "timestamp" and times is not None:
            return joined_name(times)
        return column_of(records, path, role, getattr(self.options, role), header=self.options.header)

    def _seen(
        self,
        path: Path,
        records: Records,
        names: Mapping[str, str | None],
        times: Sequence[str] | None,
        parts: int,
    ) -> SeenFile:
        roles = {column: role for role, column in names.items() if column is not None}
        roles |= dict.fromkeys(times or (), "timestamp")
        rating = names["rating"]
        decimal = None if rating is None else self.options.decimal or sign_seen(records.frame[rating])
        if times is not None:
            records = replace(records, frame=records.frame.drop(joined_name(times)))
        return seen_file(path, records, roles, decimal=decimal, parts=parts)

    def _expected(self) -> str:
        pattern, decimal = self.options.timestamp_format, self.options.decimal
        times = f"times are as in {pattern}" if pattern else "times are seconds, milliseconds or dates"
        return f"ratings are numbers{' with a decimal comma' if decimal == ',' else ''}; {times}"

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


def _look(files: Mapping[str, Path], frame: pl.DataFrame, options: dict[str, Any], told: Sequence[str]) -> DatasetLook:
    """What is read of the files with the options that some rows of the log tell, and sentences on these."""
    raw, decimal = Table("table", TableSettings.model_validate(options))._read(files)
    # All rows tell it: the first ones may have a comma, and those behind them points.
    if decimal == "," and "rating" in options:
        options["decimal"] = decimal
        log, *items = raw.files
        raw.files = (replace(log, form={**log.form, "decimal": decimal}), *items)
    offered = quantity_in(frame, list(options.values()))
    remarks: dict[str, str] = {}
    if raw.events and not {"events", "keep"} & options.keys():
        options["event"] = _named(raw.files[0], "event")
        weights, more, remarks = events_seen(raw)
        offered |= {key: value for key, value in more.items() if key not in options}
        if weights:
            options["events"] = weights
            del raw  # not twice in memory
            raw = Table("table", TableSettings.model_validate(options)).read(files)
    raw.warnings = [*told, *raw.warnings]
    return DatasetLook(raw.files, options, raw, offered, remarks)


def _present(files: Mapping[str, Path], role: str) -> list[Path]:
    return [files[role]] if role in files else []


def _named(file: SeenFile, role: str) -> str | None:
    return next((column.name for column in file.columns if column.role == role), None)


def _taken(
    opened: OpenedTable, names: Mapping[str, str | None], times: Sequence[str] | None, ids: Mapping[str, pl.DataType]
) -> Records:
    """All rows of a file, in columns called by their roles.

    Args:
        times: columns that together are the time.
        ids: the categories that ids of all files become.
    """
    found = [name for name in names.values() if name is not None]
    kinds = {name: kind for role, kind in ids.items() if (name := names[role]) is not None and found.count(name) == 1}
    records = opened.columns({*found, *(times or ())}, kinds)
    if times is not None:
        records = with_joined_times(records, times)
    return records.renamed_by_role(names).without_nested("user", "item")


def _without_role(column: SeenColumn, role: str) -> SeenColumn:
    return replace(column, role=None) if column.role == role else column


def _without_rows(path: Path) -> InputError:
    return InputError("there are no rows below the header", location=str(path), hint="write one row a line below it")


def _unrated(rows: pl.DataFrame) -> pl.DataFrame:
    """Null where a rating is written as `nan`: its row is an interaction that nobody rated."""
    written_so = "rating" in rows.columns and rows["rating"].is_nan().any()
    return rows.with_columns(pl.col("rating").fill_nan(None)) if written_so else rows


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
