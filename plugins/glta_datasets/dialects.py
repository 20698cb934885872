"""How a delimited file is written: what stands between its fields, and what its columns are called."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from glta_cli.plugin import InputError
from glta_datasets.delimited import read_delimited
from glta_datasets.records import Records

_SEPARATORS: Final = (",", ";", "\t", "|", "::", " ")
_SEPARATOR_LINE: Final = re.compile(rb'"?sep=([ -~\t])"?[;,\t]*[ ]*(?=[\r\n])')
_NAMED_SEPARATORS: Final = {"\\t": "\t", "tab": "\t", "space": " ", "comma": ",", "semicolon": ";", "pipe": "|"}
# To the fast reader a separator is one character: this one stands for a longer one, since no text has it.
_STANDS_FOR_LONGER: Final = "\x1f"


@dataclass(frozen=True)
class Dialect:
    """How a text is written.

    Attributes:
        mark: what stands between fields.
        columns: names, where the text has no header line.
        form: what is told of it.
    """

    mark: str
    columns: list[str] | None
    form: Mapping[str, str]

    @property
    def separator(self) -> str:
        """One ASCII character that stands between the fields of `plain` text."""
        return self.mark if self._is_short else _STANDS_FOR_LONGER

    @property
    def _is_short(self) -> bool:
        return len(self.mark) == 1 and self.mark.isascii()

    def plain(self, content: bytes) -> bytes:
        return content if self._is_short else content.replace(self.mark.encode(), _STANDS_FOR_LONGER.encode())

    def records(self, content: bytes, place: str) -> Records:
        """UTF-8 text as columns of strings; raises as `read_delimited` does."""
        records = read_delimited(self.plain(content), place, separator=self.separator, columns=self.columns)
        return replace(records if self._is_short else _restored(records, self.mark), form=self.form)


def dialect_of(
    content: bytes, usual: str, named: str | None, told: str | None, encoding: str = "utf-8", *, header: bool
) -> Dialect:
    """What the first line of UTF-8 text tells.

    Args:
        usual: what stands between fields by the ending of the file's name.
        named: what does so by the options.
        told: what does so by a line such as `sep=;`.
        encoding: in which the text was written.
        header: whether the first line names the columns.

    Raises:
        InputError: the separator cannot be one.
    """
    mark = _named_separator(named) if named is not None else told or separator_in(content, usual)
    form = {"format": "tsv" if usual == "\t" else "csv", "separator": mark, "encoding": encoding}
    return Dialect(mark, None if header else _numbers_of(content, mark), form)


def without_separator_line(content: bytes) -> tuple[bytes, str | None]:
    """The text without a first line such as `sep=;`, and what that names: spreadsheets write it, and take it out again.

    The line stays as an empty one, so that lines keep their numbers.
    """
    found = _SEPARATOR_LINE.match(content)
    if found is None:
        return content, None
    return content[found.end() :], found[1].decode()


def _numbers_of(content: bytes, mark: str) -> list[str]:
    """The columns of a file without a header, by their numbers from 1: as many as the first line has fields."""
    first = header_of(content).replace(mark, _STANDS_FOR_LONGER)
    fields = next(csv.reader([first], delimiter=_STANDS_FOR_LONGER), [])
    return [str(number) for number in range(1, len(fields) + 1)]


def _restored(records: Records, mark: str) -> Records:
    """The separator in quoted fields, and in lines that are shown, as it is written."""
    frame = records.frame.with_columns(pl.selectors.string().str.replace_all(_STANDS_FOR_LONGER, mark, literal=True))
    for reason, example in records.losses.examples.items():
        records.losses.examples[reason] = example.replace(_STANDS_FOR_LONGER, mark)
    place_of = records.place_of
    return replace(records, frame=frame, place_of=lambda row: place_of(row).replace(_STANDS_FOR_LONGER, mark))


def _named_separator(separator: str) -> str:
    mark = _NAMED_SEPARATORS.get(separator.lower(), separator)
    if any(letter in mark for letter in '"\n\r'):
        raise InputError(
            f"{separator!r} cannot stand between fields", location="dataset.options.separator", hint="such as ';'"
        )
    return mark


def separator_in(content: bytes, usual: str) -> str:
    """What stands between the fields of UTF-8 text, by its first line."""
    return _separator_of(header_of(content), usual)


def header_of(content: bytes) -> str:
    return next((line for line in re.split(rb"[\r\n]", content[:65536]) if line.strip()), b"").decode(
        "utf-8", errors="replace"
    )


def _separator_of(header: str, usual: str) -> str:
    """The usual separator where it stands in the header, else the one that stands there most often."""
    bare = re.sub(r'"[^"]*"', "", header)
    if usual in bare:
        return usual
    counts = {mark: bare.strip().count(mark) for mark in _SEPARATORS}
    if any(count for mark, count in counts.items() if mark != " "):
        del counts[" "]
    best = max(counts, key=lambda mark: counts[mark])
    return best if counts[best] else usual
