"""`glta update --train`: a run trained again on what its source says by now, from the weights it had."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.markup import escape

from glta_cli.core.errors import GltaError
from glta_cli.core.terminal import nothing_on_stdout, say
from glta_cli.data.delisted_items import delisted_since, with_delisted
from glta_cli.data.growth import growth_of, same_source
from glta_cli.data.preparation import prepare, source_files
from glta_cli.data.prepared import PreparedDataset
from glta_cli.graph.warm_start import Places
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.files import recipe_from
from glta_cli.recipe.text_switches import without_defaults
from glta_cli.stages.lineage import SERVING
from glta_cli.stages.parameter_files import FULL_PARAMETERS
from glta_cli.stages.pipeline import Pipeline
from glta_cli.stages.recipe_hints import hints_of_run, in_words_of_recipe
from glta_cli.stages.refit_names import refit_name
from glta_cli.stages.run_record import record_source
from glta_cli.stages.run_so_far import answering_dataset
from glta_cli.stages.run_source import run_source
from glta_cli.stages.update import refuse_other_source
from glta_cli.workspace.artefact import Artefact
from glta_cli.workspace.details import histories, scalars
from glta_cli.workspace.run import Run
from glta_cli.workspace.workspace import Workspace

# Stages whose result a later training goes on from; those of a refit go on from a refit.
TRAINED = ("encode-items", "pretrain-graph", "align", "finetune")
# Share of what is measured by that an earlier training may have learnt: a corrected row or two, but no other split.
MOST_LEARNT_BEFORE = 0.01


@dataclass(frozen=True)
class Retraining:
    """What a training that went on from another came to.

    Attributes:
        interactions: known now, and known to the training before.
        new: whether there is anything new since the training before.
        warm: whether it started from the weights there were.
        trainings: of each, `name`, `epochs` run and the `best` of them, then and `before`, with the metric of the best.
        served: what the run answers from now; None where there was nothing new, or nothing was trained.
    """

    run: str
    dataset: str
    interactions: tuple[int, int]
    new: bool
    warm: bool
    trainings: list[dict[str, Any]]
    served: Artefact | None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        now, before = self.interactions
        return {
            "run": self.run,
            "dataset": self.dataset,
            "trained": self.served is not None,
            "interactions": now,
            "interactions_before": before,
            "warm_start": self.warm,
            "trainings": self.trainings,
        }


@nothing_on_stdout()
def train_again(
    name: str | None,
    workspace: Workspace,
    device: str | None,
    *,
    source: str | None = None,
    once: bool = False,
    vanished: bool = False,
    dry_run: bool = False,
) -> Retraining:
    """Train a finished run again on what its source says by now; until that is finished it answers as it did.

    One that was interrupted goes on.

    Args:
        source: in place of the one the run was read from.
        once: whether it cannot be read again, as what was piped in.
        vanished: whether the source may lack much of what was known.

    Raises:
        InputError: there is no such run, or its source is not there, or cannot be this run's any more.
        GltaError: the run is not finished, or ends with its encoder.
    """
    run = _finished(name, workspace)
    recipe = recipe_from(without_defaults(run.recipe), [], file=workspace.run_path(run.name))
    pipeline = Pipeline(run.name, recipe, workspace, device=device)
    pipeline.require(SERVING)
    settings = run_source(run, recipe.dataset, source, workspace, once=once)
    with hints_of_run(run.name):
        fresh, _ = prepare(settings, workspace)
    trained = _published_dataset(run, workspace)
    sizes = fresh.summary()["interactions"], trained.summary()["interactions"]
    if same_source(trained, fresh):
        return Retraining(run.name, fresh.name, sizes, False, False, [], None)
    answering = answering_dataset(run, workspace) or trained
    growth = growth_of(answering, fresh)
    if not vanished:
        refuse_other_source(growth, settings)
    for warning in fresh.warnings:
        say(f"[yellow]warning[/]: {escape(in_words_of_recipe(warning))}")
    starts = _starts(run, workspace, trained, fresh)
    warm = "pretrain-graph" in starts
    if dry_run:
        return Retraining(run.name, fresh.name, sizes, True, warm, [], None)
    sources = dict(run.sources) if once else source_files(fresh, settings, workspace)
    # What is delisted is so before anything is trained: whatever ends the training, nothing answers with it.
    kept = recipe.dataset if once else settings
    learnt = with_delisted(fresh, delisted_since(answering, fresh), kept, workspace)
    pipeline.begin_anew(learnt, sources, starts)
    served = pipeline.ensure(SERVING)
    if source is not None and not once:
        record_source(run.name, str(settings.source), workspace)
    now = dict(pipeline.reached())
    before = {stage: workspace.published(stage, fingerprint) for stage, fingerprint in run.stages.items()}
    trainings = [
        {**each, "before": _of_name(before.get(stage), each["name"])}
        for stage in TRAINED
        if stage in now
        for each in trainings_of(stage, now[stage])
    ]
    return Retraining(run.name, fresh.name, sizes, True, warm, trainings, served)


def trainings_of(stage: str, artefact: Artefact) -> Iterator[dict[str, Any]]:
    """Of every training of a stage that selected an epoch: its name, the epochs it ran, the best, and its metric."""
    found = dict(scalars(artefact.details))
    for training, history in histories(artefact.details):
        prefix = f"{training}." if training else ""
        if f"{prefix}best_epoch" in found:
            yield {
                "name": f"{stage} {training}".strip(),
                "epochs": int(history[-1]["epoch"]),
                "best": found[f"{prefix}best_epoch"],
                "metric": round(float(found[f"{prefix}best_metric"]), 4),
                "seconds": found[f"{prefix}training_seconds"],
            }


def _of_name(artefact: Artefact | None, name: str) -> dict[str, Any] | None:
    if artefact is None:
        return None
    return next((each for each in trainings_of(artefact.stage, artefact) if each["name"] == name), None)


def _finished(name: str | None, workspace: Workspace) -> Run:
    """The run as it was last finished, whose weights are gone on from."""
    latest = workspace.latest_run() if name is None else workspace.required_run(name)
    run = None if latest is None else latest.last_finished
    if run is None:
        where = str(workspace.root) if latest is None else f"run {latest.name}"
        hint = "glta recommend makes a run" if latest is None else f"glta recommend --run {latest.name} goes on with it"
        raise GltaError("there is no finished run to be trained again", location=where, hint=hint)
    return run


def _published_dataset(run: Run, workspace: Workspace) -> PreparedDataset:
    artefact = workspace.published("prepare", run.stages["prepare"])
    if artefact is None:
        raise GltaError(
            "the data it was trained on is not there any more, so that nobody knows what is new",
            location=f"run {run.name}",
            hint=f"glta recommend --run {run.name} --refresh trains it from the start",
        )
    return PreparedDataset(artefact)


def _starts(run: Run, workspace: Workspace, trained: PreparedDataset, fresh: PreparedDataset) -> dict[str, str]:
    """By stage, what the new training goes on from: nothing where that would be known by what it is measured by."""
    encoder = workspace.published("pretrain-graph", run.stages["pretrain-graph"])
    if encoder is None or not encoder.has(FULL_PARAMETERS):
        say(f"run {escape(run.name)} kept no parameters of its encoder, as runs of 0.1: it is trained from the start")
        return {}
    names = [*TRAINED, *map(refit_name, TRAINED)]
    starts = {stage: run.stages[stage] for stage in names if stage in run.stages}
    share = learnt_before([trained, *_earlier_datasets(encoder, workspace)], fresh)
    if share <= MOST_LEARNT_BEFORE:
        return starts
    say(
        f"{share:.0%} of what is measured by now was trained on before, since the split was drawn anew: trained from "
        "the start (leave-last-out and temporal splits keep what was learnt and what is measured apart)"
    )
    # A refit is measured by nothing; but the model of the refit shares the basis of its own encoder alone.
    return {}


def learnt_before(trained: Sequence[PreparedDataset], fresh: PreparedDataset) -> float:
    """The share of validation and test interactions that were training interactions in any of the earlier datasets."""
    measured = fresh.split("valid", "test")
    learnt = np.zeros(len(measured), dtype=bool)
    for before in trained:
        users, items = (
            Places.of(then, now).before
            for then, now in ((before.user_ids, fresh.user_ids), (before.item_ids, fresh.item_ids))
        )
        pairs = users[measured.users] * before.item_count + items[measured.items]
        pairs[(users[measured.users] < 0) | (items[measured.items] < 0)] = -1
        learnt |= np.isin(pairs, _pairs(before.split("train"), before.item_count))
    return float(learnt.sum()) / max(1, len(learnt))


def _earlier_datasets(encoder: Artefact, workspace: Workspace) -> Iterator[PreparedDataset]:
    """What each training was trained on whose weights the encoder went on from, as far as that is still there."""
    start = encoder.manifest["settings"].get("warm_start_from")
    while start is not None and (earlier := workspace.published("pretrain-graph", start)) is not None:
        artefact = workspace.published("prepare", earlier.parent("prepare").name)
        if artefact is not None:
            yield PreparedDataset(artefact)
        start = earlier.manifest["settings"].get("warm_start_from")


def _pairs(interactions: Interactions, item_count: int) -> np.ndarray:
    pairs: np.ndarray = interactions.users * item_count + interactions.items
    return pairs
