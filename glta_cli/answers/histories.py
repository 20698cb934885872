"""Histories of people who are in no file, found among the items and the events of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from glta_cli.answers.history_entries import EVENT_SIGN, Entry, Met, unquoted
from glta_cli.core.counts import counted, first_of
from glta_cli.core.errors import GltaError, InputError, InputErrors
from glta_cli.core.printable import visible
from glta_cli.serving.catalogue import Catalogue
from glta_cli.serving.guest_rows import MetRows
from glta_cli.serving.index import Index
from glta_cli.serving.log_events import LogEvent

MOST_SIGNS: Final = 8
"""Signs of an entry at which an event may begin, the last ones: names of events hold few, if any."""
OTHER_SIGNS: Final = (":", "@", "/", "|", ";")
"""Signs that people try between an item and its event, too."""


@dataclass(frozen=True)
class ReadHistory:
    """One person's history.

    Attributes:
        rows: what counts of it.
        left_out: how many entries do not, by their event, whose rows the log does not keep.
        events: that are named with an item, by its id, each once.
    """

    rows: MetRows
    left_out: Mapping[str, int] = field(default_factory=dict)
    events: Mapping[str, list[str]] = field(default_factory=dict)

    @property
    def remarks(self) -> list[str]:
        """What is to be said of it."""
        if not self.left_out:
            return []
        events, count = first_of([visible(event) for event in self.left_out]), sum(self.left_out.values())
        what = counted(count, "item of the history is", "items of the history are")
        return [f"{what} left out: the log's rows of {events} are not kept"]

    def told_in(self, answer: dict[str, Any]) -> dict[str, Any]:
        """An answer that says by which events it took the history, and what of it is left out."""
        if not (self.events or self.left_out):
            return answer
        history = [
            {**each, "events": self.events[each["item"]]} if each["item"] in self.events else each
            for each in answer["history"]
        ]
        remarks = [*self.remarks, *answer.get("remarks", ())]
        return {**answer, "history": history, **({"remarks": remarks} if remarks else {})}


class Histories:
    """Reads histories by the items of a catalogue and the events of its log."""

    def __init__(self, catalogue: Catalogue, index: Index) -> None:
        self._catalogue, self._index = catalogue, index

    def is_one(self, text: str) -> bool:
        """Whether a text is one entry: an item, or one with an event behind a sign."""
        item, event = self.split(text.strip())
        # Behind the sign of the first of several entries stand the others.
        alone = event is None or not {",", "\n"} & set(event) or event in self._index.events.kinds
        return alone and bool(self._catalogue.found(item))

    def split(self, entry: Entry) -> Met:
        """The item and the event of an entry.

        A text that is an item's id or title is that item, whatever signs it holds. Another is divided at the last sign
        with an item before it and an event of the log behind it; where there is no such sign, at one that has either,
        so that the other is what is told to be unknown.
        """
        if not isinstance(entry, str):
            return Met(*entry)
        if EVENT_SIGN not in entry or self._catalogue.found(entry):
            return Met(entry)
        places = [place for place, sign in enumerate(entry) if sign == EVENT_SIGN]
        last = reversed(places[-MOST_SIGNS:])
        divided = [Met(unquoted(entry[:place]), unquoted(entry[place + 1 :])) for place in last]
        of_items = [each for each in divided if each.item and self._catalogue.found(each.item)]
        of_events = [each for each in divided if each.event in self._index.events.kinds]
        both = [each for each in of_items if each in of_events]
        return next(iter([*both, *of_items, *of_events]), Met(entry))

    def read(self, entries: Sequence[Entry], location: str) -> ReadHistory:
        """The rows of a history.

        Raises:
            InputError: an item or an event is unknown, or all of it is left out; all that is unknown together.
        """
        plain = [entry for entry in entries if isinstance(entry, str) and EVENT_SIGN not in entry]
        if len(plain) == len(entries):
            try:
                return ReadHistory(MetRows(self._catalogue.positions(plain, location)))
            except GltaError:
                if not any(self._with_sign(Met(entry)) for entry in plain):
                    raise
        named = [self.split(entry) for entry in entries]
        found, kinds = self._found(named, location)
        rows = [(item, None if name is None else kinds[name]) for item, (_, name) in zip(found, named, strict=True)]
        kept = [(item, event) for item, event in rows if event is None or event.weight is not None]
        left_out = Counter(event.name for _, event in rows if event is not None and event.weight is None)
        if left_out and not kept:
            raise self._nothing_counts(left_out, location)
        events: dict[str, list[str]] = {}
        for item, event in kept:
            if event is not None:
                events.setdefault(self._catalogue.ids[item], []).append(event.name)
        events = {item: list(dict.fromkeys(names)) for item, names in events.items()}
        met = MetRows([item for item, _ in kept], [event for _, event in kept] if events else ())
        return ReadHistory(met, left_out, events)

    def _found(self, named: Sequence[Met], location: str) -> tuple[list[int], dict[str, LogEvent]]:
        """The items by index, and the events by name; raises of all that is not there together."""
        found, kinds, wrong = list[int](), dict[str, LogEvent](), list[GltaError]()
        meant = {each.item: self._with_sign(each) for each in named}
        for item, written in meant.items():
            if written is not None:
                problem, hint = f"'{visible(item)}' is no item", f"an event stands behind '{EVENT_SIGN}': {written}"
                wrong.append(InputError(problem, location=location, hint=hint))
        try:
            found = self._catalogue.positions([each.item for each in named if meant[each.item] is None], location)
        except InputErrors as errors:
            wrong += errors.errors
        except InputError as error:
            wrong.append(error)
        for name in dict.fromkeys(each.event for each in named if each.event is not None):
            try:
                kinds[name] = self._index.events.called(name, location)
            except InputError as error:
                wrong.append(error)
        if len(wrong) > 1:
            raise InputErrors(wrong)
        if wrong:
            raise wrong[0]
        return found, kinds

    def _with_sign(self, entry: Met) -> str | None:
        """An unknown entry with another sign between an item and an event, as it should be; None where it is none."""
        if entry.event is not None or self._catalogue.found(entry.item):
            return None
        for sign in OTHER_SIGNS:
            item, _, event = map(str.strip, entry.item.rpartition(sign))
            if event in self._index.events.kinds and self._catalogue.found(item):
                return visible(f"{item}{EVENT_SIGN}{event}")
        return None

    def _nothing_counts(self, left_out: Mapping[str, int], location: str) -> InputError:
        problem = f"nothing is left of it: the log's rows of {first_of(list(map(visible, left_out)))} are not kept"
        kept = first_of([visible(event.name) for event in self._index.events.counting])
        return InputError(problem, location=location, hint=f"kept are those of {kept}")
