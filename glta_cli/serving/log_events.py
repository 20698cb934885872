"""What the events of a log count for, such as view and purchase, as an index keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from glta_cli.core.counts import first_of
from glta_cli.core.errors import InputError, did_you_mean
from glta_cli.core.printable import visible
from glta_cli.workspace.artefact import MANIFEST, Artefact

DETAIL: Final = "events"
"""Of an index's manifest, where its log has events: what `kept_of_events` gives."""
MOST_NAMED: Final = 10
"""Events that an error lists."""


@dataclass(frozen=True)
class LogEvent:
    """What a row of one kind counts for.

    Attributes:
        weight: positive; of an event whose rows are dropped None.
        seen: whether one of them keeps its item out of the answers.
    """

    name: str
    weight: float | None
    seen: bool


@dataclass(frozen=True)
class LogEvents:
    """The kinds of rows a log has, the most frequent first.

    Attributes:
        kinds: by name.
        add_up: whether what several rows of one pair count for is added up; else the first of them stands for all.
        weight_of_all: what every pair of the log counts for where that is the same, and therefore counted as 1.
    """

    kinds: Mapping[str, LogEvent]
    add_up: bool = False
    weight_of_all: float = 1.0

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> LogEvents:
        """Those of what `kept_of_events` gave."""
        kinds = {name: LogEvent(name, each["weight"], each["seen"]) for name, each in kept["kinds"].items()}
        return cls(kinds, bool(kept["add_up"]), float(kept["weight_of_all"]))

    @property
    def counting(self) -> list[LogEvent]:
        """Those whose rows count for something."""
        return [kind for kind in self.kinds.values() if kind.weight is not None]

    def called(self, name: str, location: str) -> LogEvent:
        """The event of that name.

        Raises:
            InputError: the log has no such event, or none at all.
        """
        if name in self.kinds:
            return self.kinds[name]
        if not self.kinds:
            problem = f"there is no event '{visible(name)}': the run knows of no events in its log"
            hint = "name the items alone; dataset.options.events says what events count for (recipes/README.md)"
            raise InputError(problem, location=location, hint=hint)
        there = first_of([visible(kind) for kind in self.kinds], MOST_NAMED)
        alike = next((kind for kind in self.kinds if kind.casefold() == name.casefold()), None)
        meant = did_you_mean(name, list(self.kinds)) if alike is None else f"did you mean '{alike}'?"
        hint = "name one of them, or the item alone" if meant is None else visible(meant)
        raise InputError(f"the log has no event '{visible(name)}'; it has {there}", location=location, hint=hint)


NO_EVENTS = LogEvents({})


def kept_of_events(prepared: Mapping[str, Any]) -> dict[str, Any] | None:
    """What an index keeps of its log's events, by what the manifest of the dataset says; None where it has none."""
    if not prepared.get("events"):
        return None
    kinds = {name: {"weight": each["weight"], "seen": each["seen"]} for name, each in prepared["events"].items()}
    weighed = any(each["weight"] not in (None, 1.0) for each in kinds.values())
    add_up = weighed or any(key in prepared for key in ("weights", "weight_of_all", "added_up"))
    return {"kinds": kinds, "add_up": add_up, "weight_of_all": prepared.get("weight_of_all", 1.0)}


def events_of(index: Artefact) -> LogEvents:
    """The events of the log an index was made from.

    An index of an earlier version kept nothing of them: the dataset tells, as long as it is there.
    """
    kept = index.manifest["details"].get(DETAIL)
    if kept is None:
        prepared = Artefact(index.parent("prepare"))
        kept = kept_of_events(prepared.manifest["details"]) if (prepared.path / MANIFEST).is_file() else None
    return NO_EVENTS if kept is None else LogEvents.of(kept)
