"""How much a recipe may hold, and how much of it an error shows.

The largest shipped recipe has three kilobytes and some fifty values. What goes beyond these limits is another file, or
one that is made to keep the reader busy, such as aliases of aliases; it is refused before it costs anything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from glta_cli.core.counts import counted
from glta_cli.core.errors import GltaError, InputError
from glta_cli.core.terminal import printable

LARGEST_FILE = 256 * 1024  # bytes
MOST_VALUES = 10_000  # keys and values, those that aliases repeat included
DEEPEST = 50  # keys, one in the other
# What JSON readers, numpy and torch take alike for a whole number.
LEAST_INTEGER, LARGEST_INTEGER = -(2**63), 2**63 - 1
MOST_ROWS = 200  # of an evaluation: baselines and encoders, variants, grids
MOST_COMBINATIONS = 1000  # of all grids together, each a row fitted
MOST_BITS_PRINTED = 13_000
MOST_ERRORS_TOLD = 50
LONGEST_VALUE_SHOWN = 60
LONGEST_NAME_SHOWN = 200

TOO_DEEP = f"keys are nested more than {DEEPEST} deep"
TOO_MANY = f"more than {MOST_VALUES:,} keys and values, counting what aliases and merge keys repeat"
TOO_LARGE = f"a recipe has at most {LARGEST_FILE:,} bytes"


def cut(text: str, longest: int = LONGEST_VALUE_SHOWN) -> str:
    """Text for an error, on one line: what is longer ends in dots."""
    return printable(text if len(text) <= longest else f"{text[:longest]}...")


def dotted(key: Sequence[str | int]) -> str:
    """A key as an error names it: `graph.options.layers`, each part cut where it is long."""
    return cut(".".join(cut(str(part)) for part in key), LONGEST_NAME_SHOWN)


def integer_problem(digits: int) -> str:
    """What is wrong with a whole number out of range."""
    return f"whole numbers go from {LEAST_INTEGER} to {LARGEST_INTEGER}, and this one has {digits:,} digits"


def in_file_order(errors: Sequence[GltaError]) -> list[GltaError]:
    """Errors by line and column, those without a place last; of very many the first, and how many more there are."""

    def line_and_column(error: GltaError) -> tuple[float, float]:
        found = re.search(r":(\d+):(\d+)$", error.location or "")
        return (int(found[1]), int(found[2])) if found else (float("inf"), 0)

    more = sum(error.count for error in errors if isinstance(error, _UntoldError))
    ordered = sorted((error for error in errors if not isinstance(error, _UntoldError)), key=line_and_column)
    more += max(0, len(ordered) - MOST_ERRORS_TOLD)
    return [*ordered[:MOST_ERRORS_TOLD], *([_UntoldError(more)] if more else [])]


class _UntoldError(InputError):
    """How many errors there are beside those told."""

    def __init__(self, count: int) -> None:
        super().__init__(f"and {counted(count, 'more problem')}")
        self.count = count


def value_problems(values: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Each value no recipe may hold, by its key; one that is too deep, or one too many, is the last.

    Args:
        values: as YAML or JSON gave them, so that nothing but mappings, lists and scalars is among them.
    """
    left: list[tuple[tuple[str | int, ...], Any]] = [((), values)]
    count = 0
    while left:
        key, value = left.pop()
        count += 1
        if count > MOST_VALUES:
            yield key[:-1], TOO_MANY
            return
        if len(key) > DEEPEST:
            yield key, TOO_DEEP
            return
        if isinstance(value, Mapping):
            count += len(value)
            left += [((*key, str(name)), inner) for name, inner in value.items()]
        elif isinstance(value, list):
            # Beyond the limit one entry is as good as all.
            left += [((*key, place), inner) for place, inner in enumerate(value[: MOST_VALUES + 1])]
        elif (problem := scalar_problem(value)) is not None:
            yield key, problem


def scalar_problem(value: Any) -> str | None:
    """Why a scalar is no value of any setting, or None."""
    match value:
        case bool():
            return None
        case int() if not LEAST_INTEGER <= value <= LARGEST_INTEGER:
            # Python refuses to print a number of very many digits, whose count is near enough.
            small = value.bit_length() < MOST_BITS_PRINTED
            return integer_problem(len(str(abs(value))) if small else int(value.bit_length() * math.log10(2)))
        case float() if not math.isfinite(value):
            return "a number has to be finite: at most 1.797e308"
        case str() if not value.isascii() and any("\ud800" <= each <= "\udfff" for each in value):
            return "the text holds half a character (a lone surrogate)"
    return None
