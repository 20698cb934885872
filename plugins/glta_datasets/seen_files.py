"""What is told of a file that was read: how it is written, and each column with its role and an example."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import polars as pl

from glta_cli.plugin import SeenColumn, SeenFile
from glta_datasets.ids import BLANKS
from glta_datasets.numbers import no_value
from glta_datasets.records import Records

_MOST_SHOWN: Final = 40
# Of a column, the rows among which there usually is a value.
_FEW_ROWS: Final = 1_000


def seen_file(
    path: Path, records: Records, roles: Mapping[str, str], *, decimal: str | None = None, parts: int = 1
) -> SeenFile:
    """A file with its columns, an example of each and what it is taken for.

    Args:
        records: as they were read, with all columns.
        roles: what columns are taken for; the others are ignored.
        decimal: the sign before decimals, where there are such numbers.
        parts: files that together are one log.
    """
    form = dict(records.form)
    if decimal is not None:
        form["decimal"] = decimal
    if parts > 1:
        form["parts"] = str(parts)
    frame = records.frame
    return SeenFile(path, form, records.columns or seen_columns(frame, roles), records.read)


def seen_columns(frame: pl.DataFrame, roles: Mapping[str, str]) -> tuple[SeenColumn, ...]:
    """The columns of a frame that is as its file has it, with an example of each and what it is taken for."""
    return tuple(SeenColumn(name, roles.get(name), example_of(frame[name])) for name in frame.columns)


def example_of(values: pl.Series) -> str | None:
    """The first value that is one, as text, cut where it is long."""
    value = _first_value(values.head(_FEW_ROWS))
    if value is None:
        value = _first_value(values.slice(_FEW_ROWS))
    if value is None:
        return None
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    elif isinstance(value, pl.Series):
        value = ", ".join(map(str, value))
    text = " ".join(str(value).strip(BLANKS).split())
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _first_value(values: pl.Series) -> object:
    if values.dtype == pl.String:
        column = values.alias("value").to_frame()
        told = column.lazy().filter(~no_value(pl.col("value"))).head(1).collect()["value"]
    else:
        told = values.drop_nulls().head(1)
    return told[0] if len(told) else None
