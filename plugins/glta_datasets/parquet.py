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
        return pl.read_parquet(content)
    # On some damage the reader panics, which is no `Exception` to Python.
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise InputError(f"not a Parquet file: {error}", location=place, hint=FETCH_AGAIN) from error
    except MemoryError as error:
        raise InputError("does not fit into the memory", location=place, hint="take a part of the file") from error
