"""Rows that can rank: what they learnt, what that cost, and the rows of a run's own model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from glta_cli.core.files import fingerprint
from glta_cli.evaluation.baselines import LANGUAGE_ROW, MODEL_ROW
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.scorer import Scorer
from glta_cli.recipe.fused_terms import LANGUAGE, LINEAR
from glta_cli.recipe.selection import reads_text, text_reader
from glta_cli.serving.index import Index
from glta_cli.serving.served_row import LINEAR_ROW as LINEAR_ROW
from glta_cli.serving.served_row import ServedRow
from glta_cli.stages.fitted_baselines import deferred_scorer
from glta_cli.workspace.details import numbers

if TYPE_CHECKING:
    from glta_cli.stages.pipeline import Pipeline
    from glta_cli.workspace.artefact import Artefact

FIT_LINEAR = "fit-linear"


@dataclass(frozen=True)
class FittedRow:
    """A row that can rank.

    Attributes:
        score: by the histories at test time.
        artefact: what was learnt; rows of two seeds that share it are ranked once.
        seconds: it took to learn, with what it was learnt from, but for the prepared dataset.
        peak: the most bytes the process held meanwhile; None where a manifest does not say.
        settings: its own, as they were in the end.
        was_there: whether it was learnt before.
        validation_score: by training histories, to choose settings by; None for what has none to choose.
        chosen: of its settings those it chose itself while it was fitted.
        called: what it may be called in place of its name, where nothing else is.
        served: of the row that is served, which one validation found it to be.
        ranks_by: what was learnt and the settings it scores with: rows of the same rank alike; None where not known.
    """

    name: str
    score: Scorer
    artefact: Artefact
    seconds: float
    peak: int | None
    settings: dict[str, Any] = field(default_factory=dict)
    was_there: bool = True
    validation_score: Scorer | None = None
    chosen: dict[str, Any] = field(default_factory=dict)
    called: str | None = None
    served: ServedRow | None = None
    ranks_by: str | None = None


def model_rows(pipeline: Pipeline) -> list[FittedRow]:
    """The terms of a run, each alone, and what is served of them; trained now where it is not.

    They are the encoder, the linear term and the language model's own ranking. Where the encoder is the only term it is
    the one row.
    """
    pipeline.ensure(pipeline.last_stage)
    encoder = encoder_row(pipeline.recipe.graph.encoder, pipeline)
    if pipeline.last_stage != "index":
        return [encoder]
    return [encoder, *_linear_rows(pipeline), *language_rows(pipeline, MODEL_ROW, LANGUAGE_ROW)]


def language_rows(pipeline: Pipeline, model: str, language: str) -> list[FittedRow]:
    """The language model's own ranking and what is served; without fusion the former is the latter.

    Args:
        model, language: what the rows are called.
    """
    index = Index(pipeline.ensure("index"))
    seen = pipeline.prepared().masked_at_test()
    stages = [artefact for name, artefact in pipeline.reached() if name != "prepare"]
    seconds, peak = seconds_of(stages), peak_of(stages)
    rows = []
    if LANGUAGE in index.terms and (index.row.weights is not None or index.row.tried):
        rows.append(FittedRow(language, index.language_scorer(*seen), index.artefact, seconds, peak))
    rows.append(FittedRow(model, index.scorer(*seen), index.artefact, seconds, peak, served=index.row))
    return rows


def _linear_rows(pipeline: Pipeline) -> list[FittedRow]:
    """The linear term alone, where the run has one."""
    index = Index(pipeline.ensure("index"))
    if LINEAR not in index.terms:
        return []
    fit = pipeline.ensure(FIT_LINEAR)
    fits = [fit, *([pipeline.ensure("encode-items")] if "encode-items" in fit.manifest["inputs"] else [])]
    seconds, peak = seconds_of(fits), peak_of(fits)
    found, called = fit.details, index.row.rows[LINEAR]
    # Of a term that was cut the row of its baseline is another one.
    ranks_by = None if "kept" in found else fingerprint([found["learnt"], found["settings"]])
    return [FittedRow(LINEAR_ROW, index.linear_scorer(), fit, seconds, peak, called=called, ranks_by=ranks_by)]


def encoder_row(name: str, pipeline: Pipeline, settings: dict[str, Any] | None = None) -> FittedRow:
    """The ranking of a pipeline's graph encoder alone."""
    artefact = pipeline.ensure("pretrain-graph")
    # The stage may train a second encoder, which is not this row's.
    trainings = [artefact.details[name] for name in ("full", "refit") if name in artefact.details]
    seconds = sum(float(training["training_seconds"]) for training in trainings)
    parents = [pipeline.ensure("encode-items")] if "encode-items" in artefact.manifest["inputs"] else []
    score, validation_score = _encoder_scorers(pipeline, artefact)
    return FittedRow(
        name,
        score,
        artefact,
        seconds + seconds_of(parents),
        peak_of([artefact, *parents]),
        settings or {},
        validation_score=validation_score,
    )


def _encoder_scorers(pipeline: Pipeline, artefact: Artefact) -> tuple[Scorer, Scorer]:
    """An encoder's scores when the test is ranked, and when something is chosen on validation."""
    from glta_cli.stages.context import read_embeddings

    prepared = pipeline.prepared()
    if prepared.hides is None:
        return (
            read_embeddings(artefact, at_test=True).scorer(),
            deferred_scorer(lambda: read_embeddings(artefact).scorer()),
        )
    from glta_cli.stages.cold_nodes import with_cold_nodes

    context = pipeline.context()
    if prepared.has_text and reads_text(text_reader(pipeline.recipe)):
        context.artefacts = {**context.artefacts, "encode-items": pipeline.beside("encode-items")}

    def scorer(histories: Interactions) -> Scorer:
        return deferred_scorer(lambda: with_cold_nodes(context, read_embeddings(artefact), histories).scorer())

    validation_score = scorer(prepared.histories_at_validation())
    return (scorer(prepared.histories_at_test()) if prepared.histories_differ else validation_score), validation_score


def seconds_of(artefacts: Sequence[Artefact]) -> float:
    """What it took to make them; where a training was interrupted and continued, all of its time."""
    return sum(max(float(each.manifest["seconds"]), _training_seconds(each)) for each in artefacts)


def _training_seconds(artefact: Artefact) -> float:
    """Of all trainings of a stage: its manifest's own time begins with the last start."""
    trained = (seconds for name, seconds in numbers(artefact.details) if name.split(".")[-1] == "training_seconds")
    return float(sum(trained))


def peak_of(artefacts: Sequence[Artefact]) -> int | None:
    peaks = [int(each.manifest["peak_memory"]) for each in artefacts if "peak_memory" in each.manifest]
    return max(peaks, default=None)
