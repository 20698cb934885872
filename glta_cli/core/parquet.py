"""Parquet files: a failed write names the file and the system's reason, a damaged file is named when it is read."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import chain
from pathlib import Path

import polars as pl
from polars.io.plugins import register_io_source

from glta_cli.core.errors import GltaError
from glta_cli.core.storage import as_os_error

AGAIN = "remove the folder; the stage runs again"


def write_table(path: Path, table: pl.DataFrame) -> None:
    """Write a table as Parquet.

    Raises:
        OSError: it cannot be written; with the file's name.
    """
    try:
        table.write_parquet(path)
    except Exception as error:
        raise as_os_error(error, path) or error from error


def write_parts(path: Path, parts: Iterator[pl.DataFrame]) -> None:
    """Write a table as Parquet, a part after the other: at no time is more than a few parts in memory.

    Args:
        parts: one at least; all with the columns of the first.

    Raises:
        OSError: it cannot be written; with the file's name.
    """
    first = next(parts)
    table = register_io_source(lambda *_: chain([first], parts), schema=first.schema)
    try:
        table.sink_parquet(path, engine="streaming")
    except Exception as error:
        raise as_os_error(error, path) or error from error


def read_table(path: Path, *columns: str, only: Collection[str] | None = None) -> pl.DataFrame:
    """A Parquet file; raises `GltaError` where it is damaged or lacks one of `columns`.

    Args:
        only: the columns that are read, where the file has them; None reads all.
    """
    try:
        table = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        present = table.collect_schema().names()
        if only is not None:
            table = table.select(name for name in present if name in only)
        read = table.collect()
    # A panic of polars is none of Exception's.
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        raise _damaged(path, str(error).partition("\n")[0]) from error
    missing = [name for name in columns if name not in present]
    if missing:
        raise _damaged(path, f"without the column {', '.join(missing)}")
    return read


def _damaged(path: Path, reason: str) -> GltaError:
    return GltaError(f"is damaged: no such Parquet file ({reason})", location=str(path), hint=AGAIN)
