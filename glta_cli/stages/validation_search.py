"""Candidates tried on validation one after the other: what was tried is kept, and what loses is removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from glta_cli.core.errors import GltaError
from glta_cli.core.files import read_sealed_json, set_aside, write_sealed_json
from glta_cli.core.progress import progress_bar
from glta_cli.core.storage import storage_errors
from glta_cli.data.prepared import PreparedDataset
from glta_cli.plugin.scorer import Scorer
from glta_cli.ranking.selection import SELECTION_METRIC, quality_of
from glta_cli.stages.fitted_baselines import STAGE as BASELINE_STAGE
from glta_cli.workspace.artefact import Artefact
from glta_cli.workspace.workspace import Workspace

TRIED = "tried.json"


@dataclass(frozen=True)
class Trial:
    """What a candidate learnt, and how it ranks.

    Attributes:
        score: by training histories.
        artefact: what was learnt; of a baseline it is removed when the candidate loses, unless it was there before.
        seconds: it took to learn.
        chosen: settings that it chose itself while it was fitted.
    """

    score: Scorer
    artefact: Artefact
    was_there: bool
    seconds: float
    chosen: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Candidate:
    """One of those to choose from.

    Attributes:
        settings: what is told of it.
        learns: the same for candidates that learn the same.
        fitted: fits it, where that was not done before.
    """

    settings: dict[str, Any]
    learns: str
    fitted: Callable[[], Trial]


def searched(
    name: str, candidates: Sequence[Candidate], prepared: PreparedDataset, workspace: Workspace, state_folder: Path
) -> list[dict[str, Any]]:
    """Rank validation items by every candidate, training items masked: its settings, NDCG@10 and seconds, in order.

    An interrupted search goes on with the candidate it was at. Baselines fitted for the search alone are removed when
    they lose, for a catalogue's item-item weights are gigabytes.

    Args:
        name: what the bar says is searched.
        state_folder: where what was tried is saved until the search is published.

    Raises:
        GltaError: nobody has a validation item.
    """
    quality = quality_of(prepared)
    if quality is None:
        raise GltaError(
            "no user has a validation item, so nothing can be chosen", hint="prepare with a larger validation share"
        )
    state = state_folder / TRIED
    learnt = [candidate.learns for candidate in candidates]
    tried, fitted = _saved_search(state, learnt)
    with progress_bar(
        len(candidates),
        name,
        "settings",
        done=len(tried),
        around_others=True,
        step="these settings",
        kept="what was tried is kept",
    ) as bar:
        for candidate in candidates[len(tried) :]:
            result, artefact = _judged(candidate, quality)
            tried.append(result)
            fitted.append(artefact)
            with storage_errors(state.parent):
                state.parent.mkdir(parents=True, exist_ok=True)
                write_sealed_json(state, {"tried": tried, "fitted": fitted, "learnt": learnt})
            _remove(_lost(tried, fitted, learnt), workspace)
            bar.update(1)
    return list(tried)


def best_of(tried: Sequence[Mapping[str, Any]]) -> int:
    """The place of the highest NDCG@10; of equal ones the first."""
    return max(range(len(tried)), key=lambda place: tried[place][SELECTION_METRIC])


def _judged(candidate: Candidate, quality: Callable[[Scorer], float]) -> tuple[dict[str, Any], str | None]:
    """What a candidate came to, and what was fitted for it alone; its weights are let go before the next is fitted."""
    trial = candidate.fitted()
    result = {"settings": candidate.settings, SELECTION_METRIC: quality(trial.score), "seconds": trial.seconds}
    # What others may have published is theirs; encoders are small, and their stage is any run's.
    own = trial.artefact.stage == BASELINE_STAGE and not trial.was_there
    return result | ({"chosen": trial.chosen} if trial.chosen else {}), trial.artefact.fingerprint if own else None


def _lost(tried: Sequence[Mapping[str, Any]], fitted: Sequence[str | None], learnt: Sequence[str]) -> list[str | None]:
    """What was fitted for candidates that are beaten, but for what the best one or one yet to be tried learns too.

    Args:
        fitted: artefacts of the candidates so far; None where others may want one.
        learnt: of every candidate, the same for those that learn the same.
    """
    wanted = {learnt[best_of(tried)], *learnt[len(tried) :]}
    return [artefact for artefact, content in zip(fitted, learnt, strict=False) if content not in wanted]


def _saved_search(state: Path, learnt: Sequence[str]) -> tuple[list[dict[str, Any]], list[str | None]]:
    """What was tried and what was fitted for it alone; nothing where there is no state, or a damaged one.

    Nor where it is of other candidates: which there are may follow from the memory that is free.

    Args:
        learnt: of every candidate, in order.
    """
    if not state.is_file():
        return [], []
    try:
        known = read_sealed_json(state, ("tried", "fitted"))
        if not all(isinstance(known.get(key), list) for key in ("tried", "fitted")):
            raise GltaError("is damaged: it does not say what was tried")
    except GltaError as error:
        set_aside(state, error.problem, "the search starts again")
        return [], []
    return (known["tried"], known["fitted"]) if known.get("learnt") == list(learnt) else ([], [])


def _remove(fingerprints: Sequence[str | None], workspace: Workspace) -> None:
    for name in fingerprints:
        artefact = None if name is None else workspace.published(BASELINE_STAGE, name)
        if artefact is not None:
            workspace.remove(artefact)
