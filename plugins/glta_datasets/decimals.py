"""Numbers with a comma before their decimals, as in 4,5."""

from __future__ import annotations

from typing import Final

import polars as pl

from glta_cli.plugin import InputError
from glta_datasets.ids import BLANKS, may_have
from glta_datasets.numbers import ratings

_WITH_COMMA: Final = r"^[+-]?\d*,\d+$"
_WITH_POINT: Final = r"^[+-]?\d*\.\d+$"
_FEW_ROWS: Final = 1_000
# The comma may stand between thousands as well.
_THOUSANDS: Final = r"^[+-]?[1-9]\d{0,2},\d{3}$"


def table_ratings(values: pl.Series, *, place: str, decimal: str | None = None) -> pl.Series:
    """Float64 ratings; null where the text is no number.

    Args:
        place: what to call the file in errors.
        decimal: what stands before decimals; None finds a comma by looking: where no value has a point.

    Raises:
        InputError: each comma may stand between thousands just as well.
    """
    if decimal != "," or values.dtype != pl.String:
        numbers = ratings(values)
        if decimal == "." or numbers.null_count() == values.null_count() or decimal_sign(values, place) == ".":
            return numbers
    bare = values.str.strip_chars(BLANKS)
    # With a comma named, a point is no sign of decimals: 1.000 may be a thousand.
    bare = bare.set(bare.str.contains(_WITH_POINT).fill_null(False), None)
    comma = bare.str.contains(_WITH_COMMA).fill_null(False)
    return ratings(bare.str.replace(",", ".", literal=True).zip_with(comma, bare))


def sign_seen(values: pl.Series) -> str:
    """The sign before decimals, by the first values of a column that is read already: told, and not decided."""
    first = values.head(_FEW_ROWS)
    return "," if first.dtype == pl.String and first.str.strip_chars(BLANKS).str.contains(_WITH_COMMA).any() else "."


def sign_of(frame: pl.DataFrame, place: str) -> str:
    """The sign before decimals in a log's column `rating`, a point without one; raises as `table_ratings`."""
    return decimal_sign(frame["rating"], place) if "rating" in frame.columns else "."


def decimal_sign(values: pl.Series, place: str) -> str:
    """The comma where numbers are written with one and none with a point, else the point; raises as above."""
    if values.dtype != pl.String or not may_have(values, ","):
        return "."
    bare = values.str.strip_chars(BLANKS)
    comma = bare.str.contains(_WITH_COMMA).fill_null(False)
    if not comma.any() or bare.str.contains(_WITH_POINT).any():
        return "."
    written = bare.filter(comma)
    if written.str.contains(_THOUSANDS).all():
        raise InputError(
            f"ratings such as {written[0]} may be thousands or decimals",
            location=place,
            hint="-o decimal=, reads them as decimals, -o decimal=. drops them",
        )
    return ","
