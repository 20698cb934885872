"""Lists of items as people give them: ids or titles with commas between them, or a file of ids."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Final

from glta_cli.core.errors import InputError

if TYPE_CHECKING:
    import polars as pl

TABLES: Final = {".csv": ",", ".tsv": "\t", ".parquet": None}
# Columns of ids, in lower case without marks.
ITEM_NAMES: Final = ("item", "itemid", "product", "productid", "sku", "asin", "parentasin", "movieid", "bookid", "id")


def items_listed(text: str, location: str) -> tuple[str, ...]:
    """The names a list gives: those of a file, where there is one of that name, else those between commas.

    A file is of one id a line or, as CSV, TSV or Parquet, has a column of items. A name with a comma stands in quotes.

    Raises:
        InputError: it cannot be read, or names nothing.
    """
    path = Path(text).expanduser()
    if _is_file(path):
        names = _of_file(path)
    elif path.suffix.lower() in (*TABLES, ".txt"):
        raise InputError("no such file", location=f"{location} {text}", hint="or name ids with commas between them")
    else:
        names = names_between_commas(text, location)
    if not names:
        raise InputError("names no item", location=f"{location} {text}", hint="one id a line, or with commas between")
    return names


def names_between_commas(text: str, location: str) -> tuple[str, ...]:
    """Names that stand between commas or on lines of their own; one that holds a comma stands in quotes.

    Raises:
        InputError: a quote has no end.
    """
    try:
        lines = csv.reader(text.splitlines(), skipinitialspace=True, strict=True)
        names = [name for line in lines for name in line]
    except csv.Error as error:
        hint = 'separate ids or titles by commas; one with a comma stands in quotes: "Heat, 1995",A-12'
        raise InputError(f"cannot be read as a list: {error}", location=location, hint=hint) from error
    return tuple(name.strip() for name in names if name.strip())


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False  # a name no file can have is a list


def _of_file(path: Path) -> tuple[str, ...]:
    try:
        if path.suffix.lower() in TABLES:
            return _of_table(path)
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", location=str(path), hint="one id a line, in UTF-8") from error
    return tuple(line.strip() for line in lines if line.strip())


def _of_table(path: Path) -> tuple[str, ...]:
    import polars as pl

    separator = TABLES[path.suffix.lower()]
    try:
        if separator is None:
            table = pl.read_parquet(path)
        else:
            table = pl.read_csv(path, separator=separator, infer_schema=False, encoding="utf8")
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"cannot be read: {reason}", location=str(path), hint="a table with a column item") from error
    column = _column_of_items(table, path)
    names = column.cast(pl.String).str.strip_chars().drop_nulls().to_list()
    # One column under an id is a list of ids in a file that ends in .csv.
    headless = separator is not None and table.width == 1 and _plain(column.name) not in ITEM_NAMES
    return tuple(name for name in ([column.name.strip(), *names] if headless else names) if name)


def _column_of_items(table: pl.DataFrame, path: Path) -> pl.Series:
    if table.width == 1:
        return table[table.columns[0]]
    plain = {_plain(name): name for name in reversed(table.columns)}
    known = next((plain[name] for name in ITEM_NAMES if name in plain), None)
    if known is None:
        listed = ", ".join(table.columns[:20])
        raise InputError(f"no column is called item; the columns are {listed}", location=str(path), hint="rename it")
    return table[known]


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
