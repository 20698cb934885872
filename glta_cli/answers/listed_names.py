"""Files that list ids or titles, of users or of items: one a line, or a table with a column of them."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from glta_cli.core.errors import InputError
from glta_cli.core.printable import visible

if TYPE_CHECKING:
    import polars as pl

TABLES: Final = {".csv": (",", ";", "\t"), ".tsv": ("\t", ";"), ".parquet": ()}
"""What may stand between the fields of a table by its ending, the usual first."""
MOST_SHOWN: Final = 20


@dataclass(frozen=True)
class Listed:
    """What a file lists.

    Attributes:
        noun: of one of them.
        columns: what a column of them may be called, without marks and in lower case, the likeliest first.
    """

    noun: str
    columns: tuple[str, ...]

    def rank(self, column: str) -> int | None:
        """How likely a column of that name holds them, 0 the likeliest; None where it is known for nothing.

        What stands behind a colon is a type, as in `user_id:token`.
        """
        plain = re.sub(r"[^a-z0-9]", "", column.partition(":")[0].lower())
        return self.columns.index(plain) if plain in self.columns else None


def names_in_file(path: Path, listed: Listed) -> list[str]:
    """The names a file lists, in its order; what blanks are around one is left out.

    A text of one column is taken for lines of names unless its first line is what such a column is called. The fields
    of a table stand between what its first line has between them, as in a log.

    Raises:
        InputError: it is no text or no table, or has no column of them.
        OSError: it is not there or cannot be read.
    """
    ending = path.suffix.lower()
    if ending == ".parquet":
        return _of_parquet(path, listed)
    content = path.read_bytes()
    lines = lines_in(content, str(path))
    if ending not in TABLES or not lines:
        return lines
    header = _first_line(content)
    separator = _separator_in(header, TABLES[ending])
    if separator not in _bare(header) and listed.rank(lines[0]) is None:
        return lines
    return _of_text_table(path, content, separator, listed)


def lines_in(content: bytes, where: str) -> list[str]:
    """The names of a text with one a line; one in quotes, as in CSV, stands without them.

    Raises:
        InputError: it is no text in UTF-8.
    """
    lines = (line.strip() for line in _text(content, where).replace("\r\n", "\n").split("\n"))
    return [_unquoted(line) for line in lines if line]


def _unquoted(line: str) -> str:
    if len(line) < 3 or line[0] != '"' or line[-1] != '"':
        return line
    try:
        fields = next(csv.reader([line], strict=True))
    except csv.Error:
        return line
    return fields[0].strip() if len(fields) == 1 and fields[0].strip() else line


def _text(content: bytes, where: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        hint = "one id a line, or a table in CSV, TSV or Parquet by its ending"
        raise InputError("cannot be read: it is no text in UTF-8", location=where, hint=hint) from error


def _first_line(content: bytes) -> str:
    return next(line for line in content.decode("utf-8-sig").splitlines() if line.strip())


def _bare(header: str) -> str:
    """What of a line stands outside quotes."""
    return re.sub(r'"[^"]*"', "", header)


def _separator_in(header: str, separators: Sequence[str]) -> str:
    """The usual separator where it stands in the header, else the one that stands there most often."""
    bare = _bare(header)
    return separators[0] if separators[0] in bare else max(separators, key=bare.count)


# ------------------------------------------------------------------------------------------------------- tables


def _of_text_table(path: Path, content: bytes, separator: str, listed: Listed) -> list[str]:
    import polars as pl

    try:
        # As text, so that 007 stays 007.
        table = pl.read_csv(content, separator=separator, infer_schema=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise _no_table(path, "table", error, listed) from error
    return _of_column(table.get_column(_column_of(table.columns, path, listed)), path)


def _of_parquet(path: Path, listed: Listed) -> list[str]:
    import polars as pl

    try:
        columns = pl.scan_parquet(path).collect_schema().names()
        name = _column_of(columns, path, listed)
        table = pl.read_parquet(path, columns=[name])
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise _no_table(path, "Parquet file", error, listed) from error
    return _of_column(table.get_column(name), path)


def _no_table(path: Path, kind: str, error: BaseException, listed: Listed) -> InputError:
    reason = str(error).partition("\n")[0]
    hint = f"one id a line, or a table with the column {listed.noun}"
    return InputError(f"cannot be read: it is no {kind}: {reason}", location=str(path), hint=hint)


def _of_column(column: pl.Series, path: Path) -> list[str]:
    import polars as pl

    if column.dtype.is_nested() or column.dtype.is_float():
        problem = f"the column {column.name} holds {column.dtype}, no ids"
        raise InputError(problem, location=str(path), hint="ids are text or whole numbers")
    names = column.drop_nulls().cast(pl.String).str.strip_chars()
    return names.filter(names != "").to_list()


def _column_of(columns: Sequence[str], path: Path, listed: Listed) -> str:
    """The column whose name says that it holds them, or the only one there is."""
    ranked = sorted((rank, place) for place, name in enumerate(columns) if (rank := listed.rank(name)) is not None)
    if ranked:
        return columns[ranked[0][1]]
    if len(columns) == 1:
        return columns[0]
    raise InputError(
        f"no column is known as {listed.noun}; the columns are {', '.join(map(visible, columns[:MOST_SHOWN]))}",
        location=str(path),
        hint=f"call the one with the ids of {listed.noun}s '{listed.noun}'",
    )
