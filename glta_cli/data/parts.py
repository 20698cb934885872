"""The parts of a split, by name and by number."""

from __future__ import annotations

from typing import Final

from glta_cli.recipe.schema import SplitSettings

SPLITS: Final = ("train", "valid", "test")
TRAIN, VALID, TEST = range(3)
# What is known of users who are hidden from all that is learnt.
HISTORY: Final = 3
HISTORY_PART: Final = "history"


def parts_of(settings: SplitSettings) -> tuple[str, ...]:
    """The names of a split's parts, by number."""
    return (*SPLITS, HISTORY_PART) if settings.hides == "users" else SPLITS
