"""Settings chosen on validation data: every combination of a row's grid is fitted, and the best one ranks the test."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glta_cli.evaluation.baselines import STAGE as BASELINE_STAGE
from glta_cli.evaluation.metrics import ranking_metrics
from glta_cli.evaluation.ranking import rank_users
from glta_cli.evaluation.rows import Row
from glta_cli.graph.pretraining import SELECTION_METRIC, validation_users
from glta_cli.terminal import progress_bar
from glta_cli.workspace import SCHEMA_VERSION, Artefact, fingerprint

if TYPE_CHECKING:
    from glta_cli.pipeline import Pipeline

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

    What was tried is published, and not tried again. Candidates that were fitted before are not fitted again, so an
    interrupted search continues; those that lose are removed, for a catalogue's item-item weights are gigabytes.
    """
    candidates = row.candidates()
    if not candidates:
        return Tuned(row, [])
    recipe, prepared = pipeline.recipe, pipeline.prepared()
    content = [candidate.identity(recipe) for candidate in candidates]
    inputs = {"prepare": prepared.artefact.fingerprint}
    identity = fingerprint([SCHEMA_VERSION, STAGE, content, inputs, recipe.seed])
    workspace = pipeline.workspace

    def search(folder: Path) -> dict[str, Any]:
        return {"row": row.name, "metric": SELECTION_METRIC, "tried": _tried(candidates, pipeline)}

    def publish() -> Artefact:
        return workspace.publish(
            STAGE, identity, search, settings={"candidates": content}, inputs=inputs, seed=recipe.seed
        )

    artefact, _ = workspace.published_or_made(STAGE, identity, publish)
    tried = artefact.details["tried"]
    best = max(range(len(tried)), key=lambda place: tried[place][SELECTION_METRIC])
    return Tuned(candidates[best], tried)


def _tried(candidates: list[Row], pipeline: Pipeline) -> list[dict[str, Any]]:
    train, validation = pipeline.prepared().split("train"), pipeline.prepared().split("valid")
    users = validation_users(validation)
    tried: list[dict[str, Any]] = []
    best: tuple[float, Artefact | None] = (-math.inf, None)
    with progress_bar(len(candidates), f"tune {candidates[0].name}", "settings") as bar:
        for candidate in candidates:
            [fitted] = candidate.fitted(pipeline)
            ranked = rank_users(fitted.score, users, 10, train)
            value = float(ranking_metrics(ranked, users, validation, [10])[SELECTION_METRIC].mean())
            tried.append({"settings": candidate.settings(), SELECTION_METRIC: value, "seconds": fitted.seconds})
            better = value > best[0]
            loser = best[1] if better else fitted.artefact
            if loser is not None and loser.stage == BASELINE_STAGE:
                pipeline.workspace.remove(loser)
            if better:
                best = value, fitted.artefact
            bar.update(1)
    return tried
