"""Settings chosen on validation data: every combination of a row's grid is fitted, and the best one ranks the test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glta_cli.core.errors import GltaError
from glta_cli.core.files import fingerprint, read_sealed_json, set_aside, write_sealed_json
from glta_cli.core.progress import progress_bar
from glta_cli.core.storage import storage_errors
from glta_cli.data.prepared import PreparedDataset
from glta_cli.evaluation.baselines import STAGE as BASELINE_STAGE
from glta_cli.evaluation.cold_start import validation_quality
from glta_cli.evaluation.rows import Row, TunableRow
from glta_cli.graph.pretraining import SELECTION_METRIC, validation_users
from glta_cli.plugin.scorer import Scorer
from glta_cli.ranking.metrics import ranking_metrics
from glta_cli.ranking.top_k import rank_users
from glta_cli.workspace.artefact import SCHEMA_VERSION, Artefact
from glta_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from glta_cli.stages.pipeline import Pipeline

STAGE = "tuning"
TRIED = "tried.json"


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
    candidates = row.candidates() if isinstance(row, TunableRow) else []
    if not candidates:
        return Tuned(row, [])
    recipe, prepared = pipeline.recipe, pipeline.prepared()
    content = [candidate.identity(pipeline) for candidate in candidates]
    inputs = {"prepare": prepared.artefact.fingerprint}
    identity = fingerprint([SCHEMA_VERSION, STAGE, content, inputs, recipe.seed])
    workspace = pipeline.workspace

    def search(folder: Path) -> dict[str, Any]:
        tried = _tried(candidates, pipeline, workspace.state_folder(STAGE, identity) / TRIED)
        return {"row": row.name, "metric": SELECTION_METRIC, "tried": tried}

    def publish() -> Artefact:
        return workspace.publish(
            STAGE, identity, search, settings={"candidates": content}, inputs=inputs, seed=recipe.seed
        )

    artefact, _ = workspace.published_or_made(STAGE, identity, publish)
    # Settings as this row has them: another of the same content may have been tried under other names.
    tried = [
        each | {"settings": candidate.settings()}
        for candidate, each in zip(candidates, artefact.details["tried"], strict=True)
    ]
    return Tuned(candidates[_best(tried)], tried)


def _best(tried: Sequence[Mapping[str, Any]]) -> int:
    return max(range(len(tried)), key=lambda place: tried[place][SELECTION_METRIC])


def _tried(candidates: Sequence[TunableRow], pipeline: Pipeline, state: Path) -> list[dict[str, Any]]:
    """Every candidate's settings and what they came to, those already in the file `state` as they stand there."""
    tried, fitted = _saved_search(state)
    learnt = [fingerprint(candidate.learns(pipeline)) for candidate in candidates]
    with progress_bar(
        len(candidates),
        f"tune {candidates[0].name}",
        "settings",
        done=len(tried),
        around_others=True,
        step="these settings",
        kept="what was tried is kept",
    ) as bar:
        for candidate in candidates[len(tried) :]:
            result, artefact, was_there = _tried_one(candidate, pipeline)
            tried.append(result)
            # What others may have published is theirs; encoders are small, and their stage is any run's.
            fitted.append(artefact.fingerprint if artefact.stage == BASELINE_STAGE and not was_there else None)
            with storage_errors(state.parent):
                write_sealed_json(state, {"tried": tried, "fitted": fitted})
            _remove(_lost(tried, fitted, learnt), pipeline.workspace)
            bar.update(1)
    return list(tried)


def _lost(tried: Sequence[Mapping[str, Any]], fitted: Sequence[str | None], learnt: Sequence[str]) -> list[str | None]:
    """What was fitted for candidates that are beaten, but for what the best one or one yet to be tried learns too.

    Args:
        fitted: artefacts of the candidates so far; None where others may want one.
        learnt: of every candidate, the same for those that learn the same.
    """
    wanted = {learnt[_best(tried)], *learnt[len(tried) :]}
    return [artefact for artefact, content in zip(fitted, learnt, strict=False) if content not in wanted]


def _saved_search(state: Path) -> tuple[list[dict[str, Any]], list[str | None]]:
    """What was tried and what was fitted for it alone; nothing where there is no state, or a damaged one."""
    if not state.is_file():
        return [], []
    try:
        known = read_sealed_json(state, ("tried", "fitted"))
        if not all(isinstance(known.get(key), list) for key in ("tried", "fitted")):
            raise GltaError("is damaged: it does not say what was tried")
    except GltaError as error:
        set_aside(state, error.problem, "the search starts again")
        return [], []
    return known["tried"], known["fitted"]


def _tried_one(candidate: TunableRow, pipeline: Pipeline) -> tuple[dict[str, Any], Artefact, bool]:
    """What a candidate came to, what it learnt, and whether that was there before."""
    prepared = pipeline.prepared()
    [fitted] = candidate.before_validation().fitted(pipeline)
    assert fitted.validation_score is not None, "a row with settings to choose can be judged on validation"
    chosen_by = _quality if prepared.hides is None else validation_quality
    value = chosen_by(fitted.validation_score, prepared)
    result = {"settings": candidate.settings(), SELECTION_METRIC: value, "seconds": fitted.seconds}
    return result, fitted.artefact, fitted.was_there


def _quality(score: Scorer, prepared: PreparedDataset) -> float:
    """NDCG@10 of validation items, training items masked: the mean over users."""
    train, validation = prepared.split("train"), prepared.split("valid")
    users = validation_users(validation)
    ranked = rank_users(score, users, 10, train, description="rank validation users")
    return float(ranking_metrics(ranked, users, validation, [10])[SELECTION_METRIC].mean())


def _remove(fingerprints: Sequence[str | None], workspace: Workspace) -> None:
    for name in fingerprints:
        artefact = None if name is None else workspace.published(BASELINE_STAGE, name)
        if artefact is not None:
            workspace.remove(artefact)
