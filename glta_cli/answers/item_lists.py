"""Lists of items as people give them: ids or titles with commas between them, or a file of ids."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final

from glta_cli.answers.listed_names import TABLES, Listed, names_in_file
from glta_cli.answers.question import Names, names_in
from glta_cli.core.errors import InputError
from glta_cli.serving.catalogue import Catalogue

ITEMS: Final = Listed(
    "item", ("item", "itemid", "product", "productid", "sku", "asin", "parentasin", "movieid", "bookid", "id")
)


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


def names_given(names: Names, catalogue: Catalogue, location: str) -> tuple[str, ...]:
    """Names a program gives; of one text that no item is called, those between its commas, as commands take a list.

    Raises:
        InputError: a quote in it has no end.
    """
    if not isinstance(names, str) or "," not in names or catalogue.found(names):
        return names_in(names)
    return names_between_commas(names, location)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False  # a name no file can have is a list


def _of_file(path: Path) -> tuple[str, ...]:
    try:
        return tuple(names_in_file(path, ITEMS))
    except OSError as error:
        raise InputError(f"cannot be read: {error}", location=str(path), hint="one id a line, in UTF-8") from error
