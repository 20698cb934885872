"""Parquet files as they are; damaged ones are told by their name."""

from __future__ import annotations

import polars as pl

from glta_cli.plugin import InputError
from glta_datasets.files import FETCH_AGAIN


def read_parquet(content: bytes, place: str) -> pl.DataFrame:
    """All columns; raises `InputError` where the bytes are no whole Parquet file.

    Args:
        place: what to call the file in errors.
    """
    try:
        frame = pl.read_parquet(content)
    # On some damage the reader panics, which is no `Exception` to Python.
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise InputError(f"not a Parquet file: {error}", location=place, hint=FETCH_AGAIN) from error
    except MemoryError as error:
        raise InputError("does not fit into the memory", location=place, hint="take a part of the file") from error
    # Names of categories are texts: as categories they turn into no numbers and no times.
    texts = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Categorical | pl.Enum)]
    return frame.with_columns(frame[name].cast(pl.String) for name in texts)
