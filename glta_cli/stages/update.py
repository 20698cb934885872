"""`glta update`: what a run's source says by now, taken into what the run answers from, without a training."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from rich.markup import escape

from glta_cli.core.counts import counted
from glta_cli.core.errors import GltaError, InputError
from glta_cli.core.files import fingerprint
from glta_cli.core.terminal import nothing_on_stdout, say
from glta_cli.data.growth import Growth, growth_of, publish_growth, same_source
from glta_cli.data.preparation import prepare, source_files
from glta_cli.data.prepared import PreparedDataset
from glta_cli.recipe.schema import DatasetSettings
from glta_cli.stages.lineage import SERVING
from glta_cli.stages.pipeline import Pipeline
from glta_cli.stages.recipe_hints import hints_of_run, in_words_of_recipe
from glta_cli.stages.run_record import record_served, record_source
from glta_cli.stages.run_source import run_source
from glta_cli.workspace.artefact import SCHEMA_VERSION, Artefact
from glta_cli.workspace.run import Run
from glta_cli.workspace.workspace import Workspace

# Shares since the training beyond which training again is advised: choices, not measurements. A tenth of the
# interactions is what a split commonly holds back; users and items no training has seen stand on linear maps alone, so
# half of that.
ADVISED_FROM: Mapping[str, float] = {"interactions": 0.10, "users": 0.05, "items": 0.05}
# Above this share of known interactions a source that lost them is rather another one, or cut short.
MOST_VANISHED = 1 / 3


@dataclass(frozen=True)
class Update:
    """What an update found and did.

    Attributes:
        new: as `Growth.counts`.
        examples: a few of each.
        dropped: how many more rows are left out than before, by reason, and where the first of them stands.
        untitled: how many of those with another title have none.
        unlisted: ids of items the source names no more, which can still be recommended.
        delisted: ids of items its list of items names no more: they leave the answers.
        relisted: ids of such items that it names again.
        since_training: shares of interactions, users and items that came since the run was trained.
        served: what the run answers from now; None where nothing was published.
        read_out: users the language model read.
    """

    run: str
    dataset: str
    new: dict[str, int]
    examples: dict[str, list[str]]
    dropped: dict[str, tuple[int, str | None]]
    untitled: int
    unlisted: list[str]
    delisted: list[str]
    relisted: list[str]
    since_training: dict[str, float]
    served: Artefact | None
    read_out: int
    seconds: float

    @property
    def reasons_to_train(self) -> list[str]:
        """Shares beyond which training again is advised, as sentences have them."""
        return [
            f"{abs(share):.1%} {'more' if share > 0 else 'fewer'} {name}"
            for name, share in self.since_training.items()
            if abs(share) > ADVISED_FROM[name]
        ]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        details = {} if self.served is None else self.served.details
        return {
            "run": self.run,
            "dataset": self.dataset,
            "updated": self.served is not None,
            "new": self.new,
            "examples": self.examples,
            "untitled": self.untitled,
            "unlisted": len(self.unlisted),
            "delisted": len(self.delisted),
            "relisted": len(self.relisted),
            "dropped": {reason: count for reason, (count, _) in self.dropped.items()},
            "since_training": self.since_training,
            "train_again": bool(self.reasons_to_train),
            "read_out": self.read_out,
            "interactions": details.get("interactions"),
            "newest": details.get("newest"),
            "seconds": self.seconds,
        }


@nothing_on_stdout()
def update(
    pipeline: Pipeline,
    run: Run,
    *,
    source: str | None = None,
    once: bool = False,
    vanished: bool = False,
    dry_run: bool = False,
) -> Update:
    """Bring what a finished run answers from up to date with its source.

    All that was trained stays; the run's file is written last, so that an update that fails changes nothing.

    Args:
        pipeline: of the run, as published (`Pipeline.answer_from`).
        source: in place of the one the run was read from.
        once: whether it cannot be read again, as what was piped in, so that the next update does not look for it.
        vanished: whether the source may lack more than `MOST_VANISHED` of what was known.
        dry_run: only say what is new.

    Raises:
        InputError: the source is not there, or cannot be this run's any more.
        GltaError: the run has no index to be brought up to date.
    """
    begun = time.monotonic()
    workspace = pipeline.workspace
    trained = pipeline.prepared()
    # Only to say what is new needs no index, and makes none.
    base = None if dry_run and SERVING not in run.stages else pipeline.ensure(SERVING)
    known = trained if base is None else PreparedDataset(Artefact(base.parent("prepare")))
    # A run of 0.1, or one that was only measured, answers from all it was prepared from as of now.
    made_now = None if SERVING in run.stages else base

    def told(growth: Growth | None, served: Artefact | None) -> Update:
        now = known if growth is None else growth
        return Update(
            run.name,
            known.name,
            {} if growth is None else growth.counts(),
            {} if growth is None else growth.examples(),
            {} if growth is None else dropped_since(known, growth.fresh),
            0 if growth is None else growth.untitled,
            [] if growth is None else growth.unlisted,
            [] if growth is None else growth.newly_delisted,
            [] if growth is None else growth.relisted,
            since_training(trained, now),
            served,
            0 if served is None else int(served.manifest["details"].get("read_out", served.details["users"])),
            round(time.monotonic() - begun, 2),
        )

    try:
        settings = run_source(run, pipeline.recipe.dataset, source, workspace, once=once)
    except InputError as error:
        if made_now is None or source is not None:
            raise
        say(f"[yellow]warning[/]: {escape(str(error.location))} {escape(error.problem)}")
        return told(None, made_now)
    with hints_of_run(run.name):
        fresh, _ = prepare(settings, workspace)
        if not fresh.keeps_columns and not dry_run:
            # As an earlier version prepared it.
            fresh, _ = prepare(settings, workspace, again=True)
    if fresh.artefact == known.artefact:
        known = fresh
    if same_source(known, fresh) and known.keeps_columns >= fresh.keeps_columns:
        if source is not None and not once and not dry_run:
            record_source(run.name, str(settings.source), workspace)
        return told(None, made_now)
    for warning in fresh.warnings:
        if warning not in known.warnings:
            say(f"[yellow]warning[/]: {escape(in_words_of_recipe(warning))}")
    growth = growth_of(known, fresh)
    if not vanished:
        refuse_other_source(growth, settings)
    if dry_run or base is None:
        return told(growth, made_now)
    # Where other bytes say the same, it is noted alone that they were read.
    kept = pipeline.recipe.dataset if once else settings
    served = base if growth.nothing else publish_index(pipeline, base, publish_growth(growth, kept, workspace))
    record_served(run.name, served, workspace, sources=None if once else source_files(fresh, settings, workspace))
    if source is not None and not once:
        record_source(run.name, str(settings.source), workspace)
    return told(growth, made_now if growth.nothing else served)


def dropped_since(known: PreparedDataset, fresh: PreparedDataset) -> dict[str, tuple[int, str | None]]:
    """How many more rows are left out than before, by reason, and where the first of that reason stands."""
    before, now = known.summary()["dropped"], fresh.summary()["dropped"]
    more = {reason: int(count) - int(before.get(reason, 0)) for reason, count in now.items()}
    return {reason: (count, fresh.examples.get(reason)) for reason, count in more.items() if count > 0}


def since_training(trained: PreparedDataset, now: PreparedDataset | Growth) -> dict[str, float]:
    """How many interactions, users and items more there are than when the run was trained, as shares."""
    if isinstance(now, Growth):
        sizes = {"interactions": now.interactions.height, "users": len(now.user_ids), "items": now.items.height}
    else:
        sizes = {name: int(now.artefact.details[name]) for name in ADVISED_FROM}
    before = trained.artefact.details
    return {name: round(size / int(before[name]) - 1, 4) for name, size in sizes.items()}


def refuse_other_source(growth: Growth, settings: DatasetSettings) -> None:
    """Raise `InputError` where a source lacks so much of what was known that it is rather another one."""
    known = int(growth.known.artefact.details["interactions"])
    if growth.vanished > MOST_VANISHED * known:
        raise InputError(
            f"lacks {growth.vanished:,} of the {counted(known, 'interaction that is', 'interactions that are')} known "
            f"({growth.vanished / known:.0%}): "
            "an update follows its source, and would forget them",
            location=str(settings.source),
            hint="name the whole log with --source FILE; or let them go with --vanished",
        )
    described = growth.known.described & ~growth.delisted_before[: growth.known.item_count]
    untold = growth.items["text"].is_null().to_numpy() | growth.delisted
    gone, texts = int((described & untold[: len(described)]).sum()), int(described.sum())
    if gone > MOST_VANISHED * texts:
        lost = "them out of the answers" if growth.fresh.lists_items else "their titles away"
        raise InputError(
            f"says nothing of {gone:,} of the {counted(texts, 'item that has', 'items that have')} a text by now: "
            f"an update would take {lost}",
            location=str(settings.options.get("items", settings.source)),
            hint="look at the file of items; or let them go with --vanished",
        )


def publish_index(pipeline: Pipeline, base: Artefact, grown: PreparedDataset) -> Artefact:
    """Publish the index of a dataset that grew, found again where it was published before.

    Args:
        pipeline: with the stages that were trained.
        base: the index of what it grew from.
    """
    from glta_cli.stages.refit import on_everything
    from glta_cli.stages.updated_index import write_updated_index

    workspace, settings = pipeline.workspace, {"layout": base.manifest["settings"]["layout"]}
    context = pipeline.context()
    if pipeline.recipe.finetune.refit:
        context = on_everything(context)
    made_of = {name: artefact.fingerprint for name, artefact in pipeline.reached() if name != SERVING}
    inputs = {**made_of, "prepare": grown.artefact.fingerprint, "grown-from": base.fingerprint}
    identity = fingerprint([SCHEMA_VERSION, "update", settings, inputs])

    def publish() -> Artefact:
        say("[cyan]▸[/] update")
        return workspace.publish(
            SERVING,
            identity,
            partial(write_updated_index, context, base, grown),
            settings=settings,
            inputs=inputs,
            seed=pipeline.recipe.seed,
        )

    return workspace.published_or_made(SERVING, identity, publish)[0]


def published_pipeline(
    name: str | None, workspace: Workspace, device: str | None, *, otherwise: str = "cannot be brought up to date"
) -> tuple[Pipeline, Run]:
    """A finished run as it was published, by name or the latest, and the pipeline that goes on from it.

    Args:
        otherwise: what it is to be said of a run that cannot be gone on from.

    Raises:
        InputError: there is none, or none of that name.
        GltaError: it is not finished, something of it is gone, or it ends with its encoder.
    """
    from glta_cli.recipe.files import recipe_from
    from glta_cli.recipe.text_switches import without_defaults

    run = workspace.answering_run(name)
    if run is None:
        raise InputError("nothing was run here yet", location=str(workspace.root), hint="glta recommend makes a run")
    recipe = recipe_from(without_defaults(run.recipe), [], file=workspace.run_path(run.name))
    pipeline = Pipeline(run.name, recipe, workspace, device=device)
    pipeline.require(SERVING)
    if not pipeline.answer_from(run, to_measure=False):
        problem = f"{otherwise}: {run.state if not run.finished else 'not all it is made of is there'}"
        raise GltaError(
            problem, location=f"run {run.name}", hint=f"glta recommend --run {run.name} makes what it lacks"
        )
    return pipeline, run
