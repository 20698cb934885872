"""How good the rows of a run are, by what was measured of it."""

from __future__ import annotations

from typing import Any, Final

from glta_cli.workspace.artefact import MANIFEST, Artefact
from glta_cli.workspace.evaluations import kept_evaluation
from glta_cli.workspace.run_reports import why_no_sum
from glta_cli.workspace.workspace import Workspace

METRIC: Final = "ndcg@10"


def measured(run: str, artefact: Artefact) -> list[dict[str, Any]]:
    """Of each row its name, `row`, `on` what it was measured, and its metrics.

    By the last `glta evaluate` of what the run is made of, on the test, with half of the 95 % interval of NDCG@10 as
    `interval`. Where there was none, NDCG@10 on validation of the rows that the served one was chosen from; empty where
    nothing was chosen.

    Args:
        run: its name.
        artefact: the index it answers from.

    Raises:
        GltaError: what was kept of the evaluation is damaged.
    """
    index = artefact.manifest["inputs"].get("index", artefact.fingerprint)
    found = kept_evaluation(Workspace(artefact.path.parents[2]), run, index)
    if found is None:
        chosen = artefact.manifest["details"].get("validation", {})
        return [{"row": row, "on": "validation", METRIC: figure} for row, figure in chosen.items()]
    intervals = found.get("intervals", {})
    return [
        {"row": row, "on": "test", **metrics, "interval": _half(intervals.get(row, {}).get(METRIC))}
        for row, metrics in found["models"].items()
    ]


def sum_not_served(artefact: Artefact) -> str | None:
    """Why the index answers from one term although a sum of them is the better figure; None where none is, or is known.

    Args:
        artefact: the index a run answers from.
    """
    chosen = artefact
    if "index" in artefact.manifest["inputs"]:
        # Of what it was made from only that index says how its sum was checked.
        chosen = Artefact(artefact.parent("index"))
        if not (chosen.path / MANIFEST).is_file():
            return None
    return why_no_sum(chosen.manifest["details"])


def _half(interval: list[float] | None) -> float | None:
    return None if interval is None else (interval[1] - interval[0]) / 2
