"""Histories of people who are in no file as rows of a log, each with its event where one is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glta_cli.plugin.interactions import Interactions
from glta_cli.serving.guests import guests_of
from glta_cli.serving.log_events import LogEvent, LogEvents


@dataclass(frozen=True)
class MetRows:
    """What one person has met, row by row, oldest first.

    Attributes:
        items: by index.
        events: what was done with each, None where nobody says; empty where nobody says it of any.
    """

    items: list[int]
    events: Sequence[LogEvent | None] = ()


@dataclass(frozen=True, eq=False)
class Guests:
    """People who are in no file, [B].

    Attributes:
        history: what each has met, every item once, the latest last.
        seen: what of it is kept out of the answers.
    """

    history: Interactions
    seen: Interactions


_Row = tuple[int, int, float, bool]
"""A person, an item, what it counts for, and whether it is seen."""


def guests_with_events(
    histories: Sequence[MetRows], item_count: int, log: LogEvents, *, weighted: bool = False
) -> Guests:
    """Histories as interactions, each item once.

    One in which an event is named becomes what `prepare` makes of such rows: those of an item add up where the log's
    do, it stands where the first of its heaviest rows does, and it is seen where any of them is. A row without an
    event counts 1 and is seen. A history without any event is what `guests_of` makes of it.

    Args:
        histories: of events that count for something.
        log: the events of the log.
        weighted: as `guests_of`.
    """
    plain = guests_of([rows.items for rows in histories], item_count, weighted=weighted)
    if not any(rows.events for rows in histories):
        return Guests(plain, plain)
    found = list[_Row]()
    for person, rows in enumerate(histories):
        found += _as_in_log(person, rows, log) if rows.events else _as_it_is(person, plain)
    weigh = weighted or any(weight != 1 for _, _, weight, _ in found)
    history = Interactions.from_pairs(
        [person for person, *_ in found],
        [item for _, item, *_ in found],
        user_count=len(histories),
        item_count=item_count,
        weights=_as_stored([weight for _, _, weight, _ in found]) if weigh else None,
    )
    seen = np.array([each for *_, each in found], dtype=bool)
    return Guests(history, history if seen.all() else history.where(seen))


def _as_it_is(person: int, plain: Interactions) -> list[_Row]:
    """A history without events: all of it is seen."""
    own = slice(plain.indptr[person], plain.indptr[person + 1])
    items = plain.items[own].tolist()
    weights = [1.0] * len(items) if plain.weights is None else plain.weights[own].tolist()
    return [(person, item, weight, True) for item, weight in zip(items, weights, strict=True)]


def _as_in_log(person: int, rows: MetRows, log: LogEvents) -> list[_Row]:
    """What `prepare` makes of such rows."""
    of_item: dict[int, list[tuple[int, float]]] = {}  # the places of its rows, and what each counts for
    seen = set[int]()
    for place, (item, event) in enumerate(zip(rows.items, rows.events, strict=True)):
        weight = 1.0 if event is None or event.weight is None else event.weight
        of_item.setdefault(item, []).append((place, weight))
        if event is None or event.seen:
            seen.add(item)
    added = _as_stored([sum(weight for _, weight in own) for own in of_item.values()]).tolist()
    sums = dict(zip(of_item, added, strict=True))
    # What weighs the same everywhere is counted as 1 in a log, too.
    if not log.add_up or all(each == log.weight_of_all for each in sums.values()):
        sums = dict.fromkeys(sums, 1.0)

    def stands(item: int) -> int:
        """The place of the first of its heaviest rows, or of its rows where none is heavier."""
        return min(of_item[item], key=lambda row: (-row[1] if log.add_up else 0, row[0]))[0]

    return [(person, item, sums[item], item in seen) for item in sorted(of_item, key=stands)]


def _as_stored(weights: Sequence[float]) -> NDArray[np.float32]:
    """Weights as a log's are kept, [n]: 0.1 in single precision is another number."""
    limits = np.finfo(np.float32)
    return np.array(weights, dtype=np.float64).clip(limits.tiny, limits.max).astype(np.float32)
