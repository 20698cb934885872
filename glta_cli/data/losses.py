"""Rows that were lost, and how many of them are too many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from glta_cli.core.counts import counted
from glta_cli.core.downloads import shown_url
from glta_cli.core.errors import InputError
from glta_cli.data.cleaning import DUPLICATE, EARLIER_PART, LOW_RATING, OUTSIDE_CORE
from glta_cli.plugin import RawDataset
from glta_cli.recipe.schema import DatasetSettings

# What leaves because it was asked to, or says nothing that is not kept.
_NO_LOSS: Final = frozenset({DUPLICATE, EARLIER_PART, OUTSIDE_CORE, LOW_RATING})
# Of the rows: fewer are told in the account, more in a warning.
_MOST_UNTOLD: Final = 0.01


def lost(raw: RawDataset, dropped: Mapping[str, int]) -> dict[str, int]:
    """The reasons, of all for which rows were dropped, under which something is lost."""
    return {reason: count for reason, count in dropped.items() if reason not in _NO_LOSS | {*raw.no_loss}}


def loss_warnings(
    settings: DatasetSettings, losses: Mapping[str, int], read: int, examples: Mapping[str, str]
) -> list[str]:
    """A sentence where more than a hundredth of the rows is lost.

    Args:
        losses: rows that are lost, by reason.
        read: all rows of the source.
        examples: for reasons, where the first such row stands and what it looks like.

    Raises:
        InputError: more is lost than `dataset.most_dropped`.
    """
    count = sum(losses.values())
    if count <= _MOST_UNTOLD * read:
        return []
    told = f"{count:,} of {counted(read, 'row')} ({count / read:.1%}) cannot be used: " + "; ".join(
        f"{reason} {number:,}" + (f", such as {examples[reason]}" if reason in examples else "")
        for reason, number in losses.items()
    )
    if count > settings.most_dropped * read:
        raise InputError(
            told,
            location=shown_url(settings.source or settings.name),
            hint="is each column what it is taken for? What is left is prepared all the same with "
            "--set dataset.most_dropped=1",
        )
    return [told]
