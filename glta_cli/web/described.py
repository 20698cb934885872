"""What is said of the run that is served."""

from __future__ import annotations

from typing import Any

from glta_cli.answers.run import Run
from glta_cli.core.counts import counted


def known_in_words(run: Run) -> str:
    """From what it answers, such as `655 interactions until 2020-09-13`."""
    interactions, newest = run.known["interactions"], run.known["newest"]
    if interactions is None:
        return "nobody wrote down from how many interactions"
    return counted(interactions, "interaction") + (f" until {newest}" if newest else "")


def described(run: Run) -> dict[str, Any]:
    """What `/v1/run` answers."""
    return {
        "name": run.name,
        "dataset": run.dataset,
        "rows": run.rows,
        "answered_by": run.index.row.sentence(),
        **run.known,
        "events": [
            {"event": event.name, "weight": event.weight, "seen": event.seen} for event in run.index.events.counting
        ],
        "evaluation": run.measured(),
        "not_served": run.not_served,
    }
