"""The column of events in a log whose names do not say it in English: found by its name or by the words in it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import polars as pl

from glta_datasets.event_words import is_ordinary_word, usual_weight
from glta_datasets.events import MOST_KINDS, is_event_column
from glta_datasets.ids import BLANKS
from glta_datasets.roles import COMMON_NAMES, may_mean, plain_name
from glta_datasets.seen_files import example_of

_TEXTS: Final = (pl.String, pl.Categorical, pl.Enum)
# Of the kinds of values, how many have to be words with a usual weight, and which share of them.
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
    worded = [name for name in called_so or few if _are_certain(kinds[name])]
    if len(worded) == 1:
        shown = f"'{worded[0]}', such as {example_of(frame[worded[0]])}"
        told = "is taken as the event by its values, as no column's name says event; if it is something else, take the "
        return worded[0], [f"{shown}, {told}lines event and events out of the recipe"]
    return None, [
        f"'{name}', such as {example_of(frame[name])}, looks like events, not used: --option event={name}"
        for name in worded or called_so or [name for name in few if _may_be_events(kinds[name])]
    ]


def _kinds(values: pl.Series) -> list[str]:
    """The different values, as far as these are few."""
    words = values.unique().cast(pl.String).drop_nulls().head(MOST_KINDS + 2).str.strip_chars(BLANKS).unique().to_list()
    return [word for word in words if word]


def _may_be_events(kinds: list[str]) -> bool:
    """Words that take something back are no sign of it: an order is cancelled or returned, too."""
    return len(_weights(kinds)) >= max(_LEAST_KNOWN, _LEAST_SHARE * len(kinds))


def _are_certain(kinds: list[str]) -> bool:
    """Whether words that say nothing else count differently: ordered and paid are states of one order."""
    told = _weights([kind for kind in kinds if not is_ordinary_word(kind)])
    return len(set(told)) > 1 and _may_be_events(kinds)


def _weights(kinds: list[str]) -> list[float]:
    return [weight for kind in kinds if (weight := usual_weight(kind)) is not None]
