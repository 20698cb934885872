"""What a person wants to know of runs: when, of what, how far, how large, how good, and in what two differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from glta_cli.core.errors import GltaError
from glta_cli.recipe.fused_terms import LANGUAGE, stored_terms
from glta_cli.workspace.artefact import Artefact
from glta_cli.workspace.details import histories, scalars
from glta_cli.workspace.run import Run
from glta_cli.workspace.workspace import Workspace


def run_report(workspace: Workspace, run: Run) -> dict[str, Any]:
    """What a run is made of.

    Returns:
        `run`, `dataset`, `encoder`, `backbone` (None where no language model takes part), `terms` (what may take part
        in its answers, of `linear`, `encoder` and `llm`), `state` (finished, stopped or failed after which stage),
        `failed` (why, or None), `refitted` (whether what it answers from is trained on everything known), `answers`
        (whether it can be asked: also while a finished run is made anew), `date` (when its last stage was published,
        ISO 8601, UTC), `bytes` of its stages on disk, `served` (which row its index answers from, in lines: the row,
        and why no sum does; None where it says none), and of each of its `stages` the fingerprint, whether it is
        published, date, seconds, bytes, threads and why, and validation metrics.

    Raises:
        GltaError: its recipe or a manifest is damaged.
    """
    stages = [_stage_report(workspace, stage, name) for stage, name in run.stages.items()]
    dates = [stage["date"] for stage in stages if stage["date"] is not None]
    answering = run.last_finished
    terms = stored_terms(run.recipe)
    return {
        "run": run.name,
        "dataset": run.dataset,
        "encoder": run.setting("graph", "encoder"),
        "backbone": run.setting("backbone", "name") if LANGUAGE in terms else None,
        "terms": list(terms),
        "state": run.state,
        "failed": run.failed,
        "refitted": answering is not None and answering.refitted,
        "answers": answering is not None,
        "date": max(dates, default=None),
        "bytes": sum(stage["bytes"] for stage in stages),
        "served": _served(workspace, run),
        "stages": stages,
    }


def full_report(workspace: Workspace, run: Run) -> dict[str, Any]:
    """`run_report` with `settings`: those that are not the defaults, under dotted names; raises as that does."""
    from glta_cli.workspace.stored_recipe import changed_from_defaults

    return {**run_report(workspace, run), "settings": changed_from_defaults(run.recipe)}


def comparison(workspace: Workspace, first: Run, second: Run) -> dict[str, Any]:
    """Two runs side by side.

    Returns:
        `runs`: their names; `settings`: {dotted name: [value of the first, of the second]} where these differ;
        `metrics`: {stage: {metric: [validation metric of the first, of the second]}}, None where a run has none;
        `same_stages`: those both were given by one and the same published folder.
    """
    from glta_cli.workspace.stored_recipe import differing

    reports = [run_report(workspace, run) for run in (first, second)]
    by_stage = [{stage["stage"]: stage["metrics"] for stage in report["stages"]} for report in reports]
    metrics: dict[str, dict[str, list[float | None]]] = {}
    for stage in dict.fromkeys([*by_stage[0], *by_stage[1]]):
        both = [metrics_of.get(stage, {}) for metrics_of in by_stage]
        names = dict.fromkeys([*both[0], *both[1]])
        if names:
            metrics[stage] = {name: [each.get(name) for each in both] for name in names}
    return {
        "runs": [first.name, second.name],
        "settings": differing(first.recipe, second.recipe),
        "metrics": metrics,
        "same_stages": [stage for stage, name in first.stages.items() if second.stages.get(stage) == name],
    }


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; 0 of what is not there."""
    if path.is_file():
        return path.stat().st_size
    return sum(each.lstat().st_size for each in path.rglob("*") if not each.is_dir())


def _stage_report(workspace: Workspace, stage: str, fingerprint: str) -> dict[str, Any]:
    artefact = workspace.published(stage, fingerprint)
    details = {} if artefact is None else artefact.details
    return {
        "stage": stage,
        "fingerprint": fingerprint,
        "published": artefact is not None,
        "date": None if artefact is None else _published_at(artefact),
        "seconds": None if artefact is None else artefact.manifest["seconds"],
        "bytes": 0 if artefact is None else size_of(artefact.path),
        "threads": _threads(artefact),
        "metrics": dict(_best_metrics(details)),
    }


def _served(workspace: Workspace, run: Run) -> list[str] | None:
    artefact = workspace.published("index", run.stages["index"]) if "index" in run.stages else None
    return None if artefact is None else served_in_words(artefact.details)


def served_in_words(details: Mapping[str, Any]) -> list[str] | None:
    """Which row an index answers from, and why no sum of terms does where one looked better; None of one of 0.1."""
    if "served_terms" not in details:
        return None
    terms = " + ".join(str(details["terms"][term]) for term in details["served_terms"])
    found = details["validation"]
    lines = [f"{terms}, the best of {len(found)} on validation" if found else terms]
    why = why_no_sum(details)
    return lines if why is None else [*lines, why]


def why_no_sum(details: Mapping[str, Any]) -> str | None:
    """Why an index answers from one term although a sum looked better, by its manifest; None where none did."""
    found, checked = details.get("validation"), details.get("cross_checked")
    if not found or checked is None or len(details["served_terms"]) > 1 or max(found.values()) <= details["ndcg@10"]:
        return None
    return f"no sum of terms: {checked:.4f} on users that its weights were not chosen by"


def _threads(artefact: Artefact | None) -> str | None:
    """How many threads a stage computed with, and why so many; None where its manifest says no reason."""
    environment = {} if artefact is None else artefact.manifest["environment"]
    count, reason = environment.get("threads"), environment.get("threads_reason")
    return None if count is None or reason is None else f"{count}, {reason}"


def _published_at(artefact: Artefact) -> str:
    try:
        ended = datetime.fromisoformat(artefact.manifest["started"]) + timedelta(seconds=artefact.manifest["seconds"])
    except (KeyError, TypeError, ValueError) as error:
        where = str(artefact.path / "manifest.json")
        raise GltaError("is damaged: it does not say when it was made", location=where) from error
    return ended.isoformat(timespec="seconds")


def _best_metrics(details: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The validation metrics of the epoch each training kept, and of each row an index was chosen among; dotted."""
    best = dict(scalars(details))
    for training, epochs in histories(details):
        prefix = f"{training}." if training else ""
        # A refit selects no epoch, and measures none.
        kept = [epoch for epoch in epochs if epoch["epoch"] == best.get(f"{prefix}best_epoch")]
        yield from ((f"{prefix}{metric}", epoch[metric]) for epoch in kept for metric in epoch if "@" in metric)
    # What was made from that index says it too, but for how it was checked.
    if "cross_checked" in details:
        yield from ((f"{row}.ndcg@10", figure) for row, figure in details["validation"].items())
