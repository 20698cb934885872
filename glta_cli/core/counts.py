"""A number with its noun, as a person reads them."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, one: str, several: str | None = None) -> str:
    """A number and what is counted, in the form that goes with it: `1 row`, `2 rows`, `12,000 rows`.

    Args:
        one: what follows 1: a noun and what has to agree with it, such as `row has`.
        several: what follows every other number, such as `rows have`; None is `one` with an s.

    Example:
        from glta_cli.plugin import counted

        assert counted(1, "row") == "1 row"
        assert counted(12_000, "row has", "rows have") + " no id" == "12,000 rows have no id"
    """
    return f"{number:,} {agreeing(number, one, several)}"


def agreeing(number: int, one: str, several: str | None = None) -> str:
    """What stands behind a number that is shown elsewhere, as in a column of numbers; as of `counted`."""
    return one if number == 1 else several or f"{one}s"


def first_of(names: Sequence[str], most: int = 30) -> str:
    """Names with commas between them, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")
