"""Histories of people who are in no file as rows of a log, each with its event where one is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from glta_cli.plugin.interactions import Interactions
from glta_cli.serving.guests import guests_of
from glta_cli.serving.log_events import LogEvent, LogEvents


@dataclass(frozen=True)
class MetRow:
    """One row of a history: an item by its index, and what was done with it; None where nobody says."""

    item: int
    event: LogEvent | None = None


@dataclass(frozen=True, eq=False)
class Guests:
    """People who are in no file, [B].

    Attributes:
        history: what each has met, every item once, the latest last.
        seen: what of it is kept out of the answers.
    """

    history: Interactions
    seen: Interactions


@dataclass
class _Pair:
    """All rows of one person with one item."""

    place: int  # of the row that stands
    heaviest: float
    sum: float = 0.0
    seen: bool = False


@dataclass
class _Rows:
    """Pairs of all people, person after person."""

    people: list[int] = field(default_factory=list)
    items: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    seen: list[bool] = field(default_factory=list)

    def add(self, person: int, item: int, weight: float, *, seen: bool) -> None:
        self.people.append(person)
        self.items.append(item)
        self.weights.append(weight)
        self.seen.append(seen)


def guests_with_events(
    histories: Sequence[Sequence[MetRow]], item_count: int, log: LogEvents, *, weighted: bool = False
) -> Guests:
    """Histories as interactions, each item once.

    One in which an event is named becomes what `prepare` makes of such rows: those of an item add up where the log's
    do, it stands where the first of its heaviest rows does, and it is seen where any of them is. A row without an
    event counts 1 and is seen. A history without any event is what `guests_of` makes of it.

    Args:
        histories: oldest first, of events that count for something.
        log: the events of the log.
        weighted: as `guests_of`.
    """
    found = _Rows()
    plain = guests_of([[row.item for row in rows] for rows in histories], item_count, weighted=weighted)
    for person, rows in enumerate(histories):
        if any(row.event for row in rows):
            _add_as_in_log(found, person, rows, log)
        else:
            own = slice(plain.indptr[person], plain.indptr[person + 1])
            for place, item in enumerate(plain.of(person).tolist(), start=own.start):
                found.add(person, item, 1.0 if plain.weights is None else float(plain.weights[place]), seen=True)
    weigh = weighted or any(weight != 1 for weight in found.weights)
    history = Interactions.from_pairs(
        found.people,
        found.items,
        user_count=len(histories),
        item_count=item_count,
        weights=_as_stored(found.weights) if weigh else None,
    )
    seen = np.array(found.seen, dtype=bool)
    return Guests(history, history if seen.all() else history.where(seen))


def _add_as_in_log(found: _Rows, person: int, rows: Sequence[MetRow], log: LogEvents) -> None:
    pairs: dict[int, _Pair] = {}
    for place, row in enumerate(rows):
        weight = 1.0 if row.event is None or row.event.weight is None else row.event.weight
        pair = pairs.setdefault(row.item, _Pair(place, weight))
        if log.add_up and weight > pair.heaviest:
            pair.place, pair.heaviest = place, weight
        pair.sum += weight
        pair.seen |= row.event is None or row.event.seen
    # What weighs the same everywhere is counted as 1 in a log, too.
    same = all(pair.sum == log.weight_of_all for pair in pairs.values())
    for item, pair in sorted(pairs.items(), key=lambda each: each[1].place):
        found.add(person, item, pair.sum if log.add_up and not same else 1.0, seen=pair.seen)


def _as_stored(weights: Sequence[float]) -> NDArray[np.float32]:
    largest = np.finfo(np.float32).max
    return np.array(weights, dtype=np.float64).clip(max=largest).astype(np.float32)
