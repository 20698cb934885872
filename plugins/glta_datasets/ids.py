"""The one rule for ids, whatever file they come from: the text as it is written, without blanks around it.

A whole number that a program wrote as a float, since a null stood beside it, loses its `.0`: a column of a Parquet
file that holds floats, a number 7.0 in JSON, and a column of text in which every value ends so.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from typing import Any, Final

import orjson
import polars as pl

from glta_datasets.categories import each_kind

# All that Unicode calls white space, with the control characters Python strips and the byte order mark, which stands
# where files were joined. Polars and Python strip different ones by themselves.
BLANKS: Final = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)

_WHOLE: Final = r"^-?[0-9]+\.0$"
_WHOLE_NUMBER: Final = re.compile(r"(-?[0-9]+)\.0+")
# Floats have 53 bits: from here on a number may stand for its neighbours.
EXACT_FLOATS: Final = 2**53
# More digits than a float can tell apart.
_LONG_NUMBER: Final = re.compile(rb"[0-9.]{16}")
# What programs write for numbers that are none.
_CONSTANT: Final = re.compile(rb"[:,\[{\s-](?:NaN|Infinity)\b")
# Beyond this many digits an exponent is a joke or an attack, and no id.
_MOST_DIGITS: Final = 400


class ExactNumber(str):
    """A number of a JSON record as its digits stand there."""

    __slots__ = ()


def ids_of(values: pl.Series, *, stripped: bool = False) -> pl.Series:
    """A column of ids as text; null where there is none.

    Args:
        stripped: whether no text has blanks around it.

    Raises:
        TypeError: the column holds lists, records or bytes that are no text.
    """
    kind = values.dtype
    if isinstance(kind, pl.Categorical):
        return each_kind(values, partial(ids_of, stripped=stripped))
    if kind == pl.String:
        bare = stripped or not may_have(values, BLANKS)
        return _without_point(values if bare else values.str.strip_chars(BLANKS))
    if kind.is_float():
        return _from_floats(values)
    if kind.is_nested() or kind == pl.Object:
        raise TypeError(f"holds {kind}, which is no id")
    if kind == pl.Binary:
        try:
            return ids_of(values.cast(pl.String))
        except pl.exceptions.PolarsError as error:
            raise TypeError("holds bytes that are no text") from error
    text = values.cast(pl.String)
    return text.str.replace(r"\.0+$", "") if kind.is_decimal() else text.str.strip_chars(BLANKS)


def may_have(texts: pl.Series, letters: str) -> bool:
    """Whether one of these letters stands in a column, which a look at all of it at once tells soonest."""
    joined = texts.str.join("").item()
    odd = letters if not joined.isascii() else [letter for letter in letters if letter.isascii()]
    return any(letter in joined for letter in odd)


def id_of(value: Any) -> str | None:
    """One id of a JSON record as text; None where it is null, a list or an object."""
    if isinstance(value, ExactNumber):
        return _number_text(value)
    if isinstance(value, str):
        return value.strip(BLANKS)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return _number_text(repr(value)) if isinstance(value, float) else None


def exact_record(line: bytes) -> Any:
    """What a line of JSON holds; numbers that a float would not hold are `ExactNumber`.

    Raises:
        ValueError: the line is no JSON.
    """
    try:
        record = orjson.loads(line)
    except ValueError:
        if not _CONSTANT.search(line):
            raise
        record = _with_constants(line)
    if isinstance(record, dict) and _has_rounded(record, line):
        return json.loads(line, parse_float=ExactNumber, parse_int=_exact_integer, parse_constant=_nothing)
    return record


def _with_constants(line: bytes) -> Any:
    """A record in which Python wrote NaN or an infinity, which are no JSON: such a field holds nothing."""
    record = json.loads(line.decode(), parse_int=_exact_integer, parse_constant=_nothing)
    # Half a character passes there, but is no text.
    json.dumps(record, ensure_ascii=False).encode()
    return record


def _nothing(_: str) -> None:
    return None


def exact_json(content: bytes) -> Any:
    """A whole file of JSON, as `exact_record` reads a line."""
    if _LONG_NUMBER.search(content):
        return json.loads(content, parse_float=ExactNumber, parse_int=_exact_integer)
    return orjson.loads(content)


def _has_rounded(record: dict[str, Any], line: bytes) -> bool:
    for value in record.values():
        if type(value) is float and (abs(value) >= EXACT_FLOATS or (value % 1 and _LONG_NUMBER.search(line))):
            return True
    return False


def _exact_integer(digits: str) -> int | ExactNumber:
    # Beyond some thousand digits Python refuses to make an int, and no other reader would take it for one.
    return int(digits) if len(digits) <= 18 else ExactNumber(digits)


def _number_text(written: str) -> str:
    whole = _WHOLE_NUMBER.fullmatch(written)
    if whole:
        return "0" if whole.group(1) == "-0" else whole.group(1)
    if "e" not in written and "E" not in written:
        return written
    number = Decimal(written)
    if number.is_finite() and number == number.to_integral_value() and abs(number.adjusted()) < _MOST_DIGITS:
        return f"{number.to_integral_value():f}"
    return written


def _float_text(value: float) -> str | None:
    if not math.isfinite(value):
        return None
    return str(int(value)) if value.is_integer() else _number_text(repr(value))


def _without_point(texts: pl.Series) -> pl.Series:
    if not next(_first_values(texts), "").endswith(".0"):
        return texts
    values = texts.drop_nulls()
    return texts.str.strip_suffix(".0") if (values.str.contains(_WHOLE) | (values == "")).all() else texts


def _first_values(texts: pl.Series) -> Iterator[str]:
    return (value for start in range(0, len(texts), 1000) for value in texts[start : start + 1000] if value)


def _from_floats(values: pl.Series) -> pl.Series:
    values = values.fill_nan(None)
    texts = values.cast(pl.Int64, strict=False).cast(pl.String)
    unlike = values.is_not_null() & (values.cast(pl.Int64, strict=False).cast(values.dtype) != values).fill_null(True)
    if not unlike.any():
        return texts
    # What is no whole number, or too large for one of 64 bits, or infinite and so no id.
    other = [_float_text(value) for value in values.filter(unlike)]
    return texts.scatter(unlike.arg_true(), pl.Series(other, dtype=pl.String))
