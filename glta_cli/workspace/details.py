"""What a stage reported of itself, as its manifest holds it: nested names with numbers, words and trainings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def scalars(details: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The numbers and words among nested details, under dotted names; lists are left out."""
    for name, value in details.items():
        if isinstance(value, Mapping):
            yield from scalars(value, f"{prefix}{name}.")
        elif isinstance(value, (str, bool, int, float)):
            yield f"{prefix}{name}", value


def numbers(details: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers among nested details, under dotted names."""
    return ((name, value) for name, value in scalars(details) if not isinstance(value, (str, bool)))


def histories(details: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Sequence[Mapping[str, float]]]]:
    """The epochs of every training among nested details, under its dotted name; of a stage's only one, under ''."""
    for name, value in details.items():
        if name == "history":
            yield prefix.removesuffix("."), value
        elif isinstance(value, Mapping):
            yield from histories(value, f"{prefix}{name}.")
