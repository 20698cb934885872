"""Settings chosen on validation data: every combination of a row's grid is fitted, and the best one ranks the test."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glta_cli.core.files import fingerprint
from glta_cli.evaluation.rows import Row, TunableRow
from glta_cli.ranking.selection import SELECTION_METRIC
from glta_cli.stages.validation_search import Candidate, Trial, best_of, searched
from glta_cli.workspace.artefact import SCHEMA_VERSION, Artefact

if TYPE_CHECKING:
    from glta_cli.stages.pipeline import Pipeline

STAGE = "tuning"


@dataclass(frozen=True)
class Tuned:
    """A row with the settings that ranked the validation items best.

    Attributes:
        tried: every combination's settings and validation NDCG@10, in the grid's order.
    """

    row: Row
    tried: list[dict[str, Any]]


def tuned(row: Row, pipeline: Pipeline) -> Tuned:
    """Choose among the row's candidates by NDCG@10 on validation items, training items masked; ties: the first.

    Where the split hides items or users, what is hidden and what is not count alike (`cold_start.py`).

    What was tried is published, and not tried again; an interrupted search goes on with the candidate it was at.
    Baselines fitted for the search alone are removed when they lose, for a catalogue's item-item weights are gigabytes.
    """
    rows = row.candidates() if isinstance(row, TunableRow) else []
    if not rows:
        return Tuned(row, [])
    recipe, prepared = pipeline.recipe, pipeline.prepared()
    content = [each.identity(pipeline) for each in rows]
    inputs = {"prepare": prepared.artefact.fingerprint}
    identity = fingerprint([SCHEMA_VERSION, STAGE, content, inputs, recipe.seed])
    workspace = pipeline.workspace

    def search(folder: Path) -> dict[str, Any]:
        candidates = [
            Candidate(each.settings(), fingerprint(each.learns(pipeline)), partial(_trial, each, pipeline))
            for each in rows
        ]
        states = workspace.state_folder(STAGE, identity)
        tried = searched(f"tune {row.name}", candidates, prepared, workspace, states)
        return {"row": row.name, "metric": SELECTION_METRIC, "tried": tried}

    def publish() -> Artefact:
        return workspace.publish(
            STAGE, identity, search, settings={"candidates": content}, inputs=inputs, seed=recipe.seed
        )

    artefact, _ = workspace.published_or_made(STAGE, identity, publish)
    # Settings as this row has them: another of the same content may have been tried under other names.
    tried = [
        {**each, "settings": candidate.settings() | each.get("chosen", {})}
        for candidate, each in zip(rows, artefact.details["tried"], strict=True)
    ]
    return Tuned(rows[best_of(tried)], tried)


def _trial(candidate: TunableRow, pipeline: Pipeline) -> Trial:
    [fitted] = candidate.before_validation().fitted(pipeline)
    assert fitted.validation_score is not None, "a row with settings to choose can be judged on validation"
    return Trial(fitted.validation_score, fitted.artefact, fitted.was_there, fitted.seconds, fitted.chosen)
