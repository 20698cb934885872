"""The rows of an evaluation: what is compared, and how each row comes to rank."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from glta_cli.component_identity import component_identity
from glta_cli.errors import InputError, did_you_mean
from glta_cli.evaluation.baselines import (
    LANGUAGE_ROW,
    MODEL_ROW,
    MadeBaseline,
    fitted_baseline,
    made_baseline,
    needs_text_vectors,
    require_texts,
)
from glta_cli.evaluation.ranking import Scorer
from glta_cli.recipe import Recipe
from glta_cli.registry import installed
from glta_cli.selection import component_options, own_settings, row_kind
from glta_cli.serving.index import Index
from glta_cli.variants import variant_of

if TYPE_CHECKING:
    from glta_cli.pipeline import Pipeline
    from glta_cli.workspace import Artefact


@dataclass(frozen=True)
class FittedRow:
    """A row that can rank.

    Attributes:
        artefact: what was learnt; rows of two seeds that share it are ranked once.
        seconds: it took to learn, with what it was learnt from, but for the prepared dataset.
        peak: the most bytes the process held meanwhile; None where a manifest does not say.
        settings: its own, as they were in the end.
    """

    name: str
    score: Scorer
    artefact: Artefact
    seconds: float
    peak: int | None
    settings: dict[str, Any] = field(default_factory=dict)


class Row(ABC):
    """What an evaluation compares the run with.

    Attributes:
        name: of the row, or of the first of its rows.
        variant: whether it is the run's own model with something changed.
    """

    name: str
    variant: bool = False

    @abstractmethod
    def fitted(self, pipeline: Pipeline) -> list[FittedRow]:
        """Its rows for the recipe and the seed of a pipeline, trained now where they were not before."""

    def candidates(self) -> list[Row]:
        """Itself with every combination of its grid, but for what is set already; none where nothing is left."""
        return []

    def settings(self) -> dict[str, Any]:
        """What its grid may change."""
        return {}

    @abstractmethod
    def identity(self, recipe: Recipe) -> Any:
        """Plain values that change with whatever the row is, but for the dataset."""


@dataclass(frozen=True)
class BaselineRow(Row):
    """A plugin of kind baseline."""

    made: MadeBaseline

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.made.name

    def fitted(self, pipeline: Pipeline) -> list[FittedRow]:
        score, artefact, parents = fitted_baseline(self.made, pipeline)
        made_of = [artefact, *parents]
        return [FittedRow(self.name, score, artefact, seconds_of(made_of), peak_of(made_of), self.settings())]

    def candidates(self) -> list[Row]:
        given = self.made.settings.model_dump(mode="json", exclude_unset=True)
        free = _free(self.made.component.candidates(), given)
        return [BaselineRow(made_baseline(self.name, given | each)) for each in free]

    def settings(self) -> dict[str, Any]:
        return self.made.settings.model_dump(mode="json")

    def identity(self, recipe: Recipe) -> Any:
        reads = [_text_settings(recipe)] if needs_text_vectors(self.made) else []
        return [component_identity(self.made.component), self.settings(), *reads]


@dataclass(frozen=True)
class EncoderRow(Row):
    """A graph encoder, trained as stage 1 trains the run's own.

    Args:
        changes: to section graph of the run's recipe.
    """

    name: str
    changes: Mapping[str, Any]

    def fitted(self, pipeline: Pipeline) -> list[FittedRow]:
        return [encoder_row(self.name, pipeline.sibling(self.name, self._recipe(pipeline.recipe)), self.settings())]

    def candidates(self) -> list[Row]:
        component = installed().find("encoder", self.changes["encoder"])
        free = _free(component.candidates(), self.changes.get("options", {}))
        return [self.with_options(**each) for each in free]

    def with_options(self, **options: Any) -> EncoderRow:
        """The same encoder with some of its own settings changed."""
        return replace(self, changes={**self.changes, "options": {**self.changes.get("options", {}), **options}})

    def settings(self) -> dict[str, Any]:
        return dict(self.changes)

    def identity(self, recipe: Recipe) -> Any:
        graph = self._recipe(recipe)
        component = installed().find("encoder", graph.graph.encoder)
        options = component_options(graph, "encoder").model_dump(mode="json")
        return [component_identity(component), graph.graph.model_dump(mode="json"), options, _text_settings(recipe)]

    def _recipe(self, recipe: Recipe) -> Recipe:
        # No stage reads the second encoder, the one on the graph without targets.
        return variant_of(recipe, {"graph": {"alignment_holdout": 0.0, **self.changes}})


@dataclass(frozen=True)
class VariantRow(Row):
    """The run's own model with other settings, trained through all stages."""

    name: str
    changes: Mapping[str, Any]
    variant: bool = True

    def fitted(self, pipeline: Pipeline) -> list[FittedRow]:
        sibling = pipeline.sibling(self.name, variant_of(pipeline.recipe, self.changes))
        return [
            replace(row, settings=dict(self.changes))
            for row in model_rows(sibling, self.name, f"{self.name}-llm")
            if row.name.startswith(self.name)
        ]

    def identity(self, recipe: Recipe) -> Any:
        return variant_of(recipe, self.changes).model_dump(mode="json", exclude={"evaluate", "loggers"})


def _free(candidates: Sequence[Mapping[str, Any]], given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Combinations of a grid without the settings that are given, each once."""
    free: list[dict[str, Any]] = []
    for candidate in candidates:
        left = {name: value for name, value in candidate.items() if name not in given}
        if left and left not in free:
            free.append(left)
    return free


# ------------------------------------------------------------------------------------------- rows of a recipe


def compared_rows(listed: Mapping[str, Mapping[str, Any]], recipe: Recipe) -> list[Row]:
    """Find, check and make all rows, before anything is trained that they are to be compared with.

    Args:
        listed: names and own settings, as `evaluate.baselines` holds them.

    Raises:
        InputError: nothing has that name, its settings are wrong, or a row of the run's model is called so.
        GltaError: a baseline cannot be imported or made.
    """
    rows = [_row(name, options, recipe) for name, options in listed.items()]
    own = (recipe.graph.encoder, LANGUAGE_ROW, MODEL_ROW)
    for row in rows:
        if row.name in own:
            described = (
                f"the baseline '{row.name}' of {row.made.component.origin}"
                if isinstance(row, BaselineRow)
                else f"'{row.name}'"
            )
            raise InputError(
                f"{described} is called like a row the report has already",
                hint="leave it out; "
                + ("its author can rename it" if isinstance(row, BaselineRow) else "a variant can have another name"),
            )
    return rows


def _row(name: str, options: Mapping[str, Any], recipe: Recipe) -> Row:
    key = ("evaluate", "baselines", name)
    if name in recipe.evaluate.variants:
        if options:
            raise InputError(
                f"the variant '{name}' takes no settings of its own",
                hint=f"change them with --set evaluate.variants.{name}.SECTION.KEY=VALUE",
            )
        changes = recipe.evaluate.variants[name]
        variant_of(recipe, changes, ("evaluate", "variants", name))
        if set(changes) != {"graph"}:
            return VariantRow(name, changes)
        return EncoderRow(name, {"encoder": recipe.graph.encoder, **changes["graph"]})
    if row_kind(name) == "encoder":
        own_settings("encoder", name, options, key)
        return EncoderRow(name, {"encoder": name, "options": dict(options)})
    _require_known(name, recipe)
    return BaselineRow(made_baseline(name, options))


def _require_known(name: str, recipe: Recipe) -> None:
    """Raise the registry's `InputError` where no baseline is called so, with the nearest name of all rows."""
    try:
        installed().find("baseline", name)
    except InputError as error:
        encoders = [component.name for component in installed().of_kind("encoder")]
        baselines = [component.name for component in installed().of_kind("baseline")]
        nearest = did_you_mean(name, [*baselines, *encoders, *recipe.evaluate.variants])
        if nearest:
            _, newline, causes = (error.hint or "").partition("\n")
            error.hint = nearest + newline + causes
        raise


def require_texts_of(rows: Sequence[Row], pipeline: Pipeline) -> None:
    """Raise `InputError` where a baseline needs item texts and the prepared dataset has none."""
    require_texts([row.made for row in rows if isinstance(row, BaselineRow)], pipeline.prepared())


# --------------------------------------------------------------------------------------- the model's own rows


def model_rows(pipeline: Pipeline, model: str = MODEL_ROW, language: str = LANGUAGE_ROW) -> list[FittedRow]:
    """The encoder, the language model's own ranking and the fused one, of a run that is trained now where it is not.

    Without fusion the language model's own ranking is the model's; a run that stops after stage 1 is its encoder.
    """
    recipe = pipeline.recipe
    if not recipe.finetune.enabled:
        return [encoder_row(recipe.graph.encoder, pipeline)]
    index = Index(pipeline.ensure("index"))
    prepared = pipeline.prepared()
    seen = prepared.split("train"), prepared.split("valid")
    stages = [artefact for name, artefact in pipeline.reached() if name != "prepare"]
    seconds, peak = seconds_of(stages), peak_of(stages)
    rows = [encoder_row(index.encoder, pipeline)]
    if index.fused:
        rows.append(FittedRow(language, index.language_scorer(*seen), index.artefact, seconds, peak))
    rows.append(FittedRow(model, index.scorer(*seen), index.artefact, seconds, peak))
    return rows


def encoder_row(name: str, pipeline: Pipeline, settings: dict[str, Any] | None = None) -> FittedRow:
    """The ranking of a pipeline's graph encoder alone."""
    from glta_cli.stage_context import read_embeddings

    artefact = pipeline.ensure("pretrain-graph")
    # The stage may train a second encoder, which is not this row's.
    trainings = [artefact.details[name] for name in ("full", "refit") if name in artefact.details]
    seconds = sum(float(training["training_seconds"]) for training in trainings)
    parents = [pipeline.ensure("encode-items")] if "encode-items" in artefact.manifest["inputs"] else []
    return FittedRow(
        name,
        read_embeddings(artefact).scorer(),
        artefact,
        seconds + seconds_of(parents),
        peak_of([artefact, *parents]),
        settings or {},
    )


def seconds_of(artefacts: Sequence[Artefact]) -> float:
    """What it took to make them, what was interrupted and continued included."""
    return sum(
        max(float(each.manifest["seconds"]), float(each.details.get("training_seconds", 0.0))) for each in artefacts
    )


def peak_of(artefacts: Sequence[Artefact]) -> int | None:
    peaks = [int(each.manifest["peak_memory"]) for each in artefacts if "peak_memory" in each.manifest]
    return max(peaks, default=None)


def _text_settings(recipe: Recipe) -> Any:
    return recipe.model_dump(mode="json", include={"text", "backbone"})
