"""Columns found by their names, whatever their case and the blanks in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import polars as pl

from glta_cli.plugin import InputError
from glta_datasets.dates import is_day_and_month
from glta_datasets.records import Records
from glta_datasets.seen_files import seen_columns
from glta_datasets.times import times_of


def found_column(name: str, columns: Iterable[str]) -> str | None:
    """The column of this name; else the only one that differs in case and blanks alone."""
    present = list(columns)
    if name in present:
        return name
    alike = [column for column in present if _plain(column) == _plain(name)]
    return alike[0] if len(alike) == 1 else None


def columns_named(records: Records, names: Mapping[str, str], required: Sequence[str], place: str) -> Records:
    """The columns of `names` alone, under their new names, where the file has them.

    Raises:
        InputError: a required one is not there.
    """
    present = records.frame.columns
    found = {name: column for name in names if (column := found_column(name, present)) is not None}
    missing = [name for name in required if name not in found]
    if missing and looks_like_data(present):
        raise without_header(present, place, such_as=",".join(names))
    if missing:
        raise InputError(
            f"no column {' and no column '.join(missing)}; the columns are {listed(present)}",
            location=f"{place}:1",
            hint="is this the right file?",
        )
    roles = {found[name]: new for name, new in names.items() if name in found}
    return replace(records.renamed(roles), columns=seen_columns(records.frame, roles))


def looks_like_data(header: Iterable[str]) -> bool:
    """Whether a field of what should be a header is a number or a date, which no column is called."""
    fields = pl.Series([name for name in header if not name.startswith("column ")], dtype=pl.String)
    return (
        bool(fields.cast(pl.Float64, strict=False).is_not_null().any())
        or bool(times_of(fields).seconds.is_not_null().any())
        or any(map(is_day_and_month, fields))
    )


def without_header(
    header: Sequence[str], place: str, such_as: str = "user,item,rating,timestamp", *, numbered: str | None = None
) -> InputError:
    """The error of a file whose first line is a row.

    Args:
        such_as: the names its columns may be given.
        numbered: the option with which columns go by numbers, where there is one.
    """
    named = "-o items_item=1" if numbered == "items_header" else "-o user=1 -o item=2"
    return InputError(
        f"the first line looks like data, not like the names of columns: {listed(header)}",
        location=f"{place}:1",
        hint=f"write the names of the columns into a first line, such as {such_as}"
        + (f"; or name them by their numbers: -o {numbered}=false {named}" if numbered else ""),
    )


def listed(names: Iterable[str]) -> str:
    """Names in one line, cut where they are many or long."""
    shown = [name if len(name) <= 60 else f"{name[:60]}..." for name in names]
    return ", ".join(shown[:30]) + (f" and {len(shown) - 30} more" if len(shown) > 30 else "")


def _plain(name: str) -> str:
    return "".join(name.split()).casefold()
