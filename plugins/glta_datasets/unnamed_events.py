"""The column of events in a log whose names do not say it in English: found by its name or by the words in it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import polars as pl

from glta_datasets.event_words import is_taken_back, usual_weight
from glta_datasets.events import MOST_KINDS, is_event_column
from glta_datasets.ids import BLANKS
from glta_datasets.roles import COMMON_NAMES, may_mean, plain_name
from glta_datasets.seen_files import example_of

_TEXTS: Final = (pl.String, pl.Categorical, pl.Enum)
# Of the kinds of values, how many have to be words for events, and which share of them.
_LEAST_KNOWN: Final = 2
_LEAST_SHARE: Final = 0.5


def unnamed_events(frame: pl.DataFrame, taken: Collection[object]) -> tuple[str | None, list[str]]:
    """The only column that may be the event, and sentences on what nobody's name says.

    Args:
        taken: columns that are something else.

    Returns:
        The column; None where a column is called so in the words that are looked for in any log, or where there is
        none or several are as good.
    """
    if any(plain_name(name) in COMMON_NAMES["event"] and is_event_column(name, frame[name]) for name in frame.columns):
        return None, []
    free = [name for name in frame.columns if name not in taken and frame[name].dtype in _TEXTS]
    kinds = {name: _kinds(frame[name]) for name in free}
    few = [name for name, words in kinds.items() if 2 <= len(words) <= MOST_KINDS]
    called_so = [name for name in few if may_mean("event", name)]
    if len(called_so) == 1:
        return called_so[0], []
    worded = [name for name in called_so or few if _are_events(kinds[name])]
    if len(worded) == 1:
        shown = f"'{worded[0]}', such as {example_of(frame[worded[0]])}"
        told = "is taken as the event by its values, as no column's name says event; if it is something else, take the "
        return worded[0], [f"{shown}, {told}lines event and events out of the recipe"]
    return None, [
        f"'{name}', such as {example_of(frame[name])}, looks like events, not used: --option event={name}"
        for name in worded or called_so
    ]


def _kinds(values: pl.Series) -> list[str]:
    """The different values, as far as these are few."""
    words = values.unique().cast(pl.String).drop_nulls().head(MOST_KINDS + 2).str.strip_chars(BLANKS).unique().to_list()
    return [word for word in words if word]


def _are_events(kinds: list[str]) -> bool:
    known = sum(usual_weight(kind) is not None or is_taken_back(kind) for kind in kinds)
    return known >= max(_LEAST_KNOWN, _LEAST_SHARE * len(kinds))
