"""Ids that a program may have changed on their way into a log."""

from __future__ import annotations

from typing import Final

import polars as pl

from glta_cli.plugin import counted
from glta_datasets.categories import kinds_of, rows_of_kinds
from glta_datasets.numbers import no_value

# A whole number as programs write it that take it for a float.
_POINTED: Final = r"^-?[0-9]+\.0$"
# What a spreadsheet makes of a number with many digits, of which it shows the first.
_ROUNDED: Final = r"^[0-9](?:[.,][0-9]+E\+?|E\+)[0-9]{1,2}$"


def odd_ids(rows: pl.DataFrame) -> list[str]:
    """A sentence where an id is what programs write for none, and where one number or one text is written as two ids.

    Args:
        rows: `user` and `item`, as categories.
    """
    told = []
    for name in ("user", "item"):
        texts, numbers = kinds_of(rows[name])
        pointed = texts.str.ends_with(".0") & texts.str.contains(_POINTED)
        if pointed.any():
            both = pointed & texts.str.strip_suffix(".0").is_in(texts.implode())
            if both.any():
                shown = _first_in(rows[name], numbers.filter(both))
                plain = shown.partition(".")[0]
                ids = counted(int(both.sum()), f"{name} id is", f"{name} ids are")
                told.append(f"{ids} written in two ways, such as '{plain}' and '{shown}': taken as two")
        rounded = texts.str.contains(_ROUNDED)
        if rounded.any():
            ids = counted(int(rounded.sum()), f"{name} id has", f"{name} ids have")
            told.append(
                f"{ids} lost digits, as in a spreadsheet, such as {_first_in(rows[name], numbers.filter(rounded))}: "
                "several may have become one; export the column as text"
            )
        composed = _composed(texts)
        if composed is not None:
            shown = _first_in(rows[name], numbers.filter(composed))
            ids = counted(int(composed.sum()), f"{name} id is", f"{name} ids are")
            told.append(f"{ids} written in two Unicode forms, such as '{shown}': taken as two")
        odd = texts.alias("text").to_frame().select(no_value(pl.col("text")) & (pl.col("text") != "")).to_series()
        if odd.any():
            count = int(rows_of_kinds(rows[name], numbers.filter(odd)).sum())
            value = f"'{_first_in(rows[name], numbers.filter(odd))}'"
            rows_have = counted(count, f"row has {value} for its", f"rows have {value} for their")
            told.append(f"{rows_have} {name}: it is taken as an id")
    return told


def _composed(texts: pl.Series) -> pl.Series | None:
    """Which texts become another one of them once letters and their accents are composed (NFC); None where none does.

    The file names of a Mac are so written.
    """
    marked = texts.str.len_bytes() != texts.str.len_chars()
    if not marked.any():
        return None
    foreign = texts.filter(marked)
    composed = foreign.str.normalize("NFC")
    twice = (composed != foreign) & composed.is_in(foreign.implode())
    return marked.scatter(marked.arg_true(), twice) if twice.any() else None


def _first_in(values: pl.Series, numbers: pl.Series) -> str:
    """The text that is the first in the log, of those that these numbers stand for."""
    return str(values[int(rows_of_kinds(values, numbers).arg_max() or 0)])
