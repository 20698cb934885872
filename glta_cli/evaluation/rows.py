"""The rows of an evaluation: what is compared, and how each row comes to rank."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from glta_cli.component_identity import component_identity
from glta_cli.details import numbers
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
from glta_cli.grids import combinations
from glta_cli.recipe import GRIDS, VARIANTS, GraphSettings, Recipe
from glta_cli.registry import installed
from glta_cli.selection import component_options, encoder_needs_text_vectors, own_settings, row_kind
from glta_cli.serving.index import Index
from glta_cli.terminal import say
from glta_cli.variants import is_encoder_alone, merged, variant_of

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
        was_there: whether it was learnt before.
    """

    name: str
    score: Scorer
    artefact: Artefact
    seconds: float
    peak: int | None
    settings: dict[str, Any] = field(default_factory=dict)
    was_there: bool = True


class Row(ABC):
    """What an evaluation compares the run with.

    Attributes:
        name: of the row, or of the last of its rows.
    """

    name: str

    def counterparts(self) -> dict[str, str]:
        """The rows of a variant of the run's own model, each with the row of the model it is to be compared with."""
        return {}

    @abstractmethod
    def require(self, pipeline: Pipeline) -> None:
        """Raise what is known to keep the row from being trained: `InputError` or `GltaError`."""

    @abstractmethod
    def fitted(self, pipeline: Pipeline) -> list[FittedRow]:
        """Its rows for the recipe and the seed of a pipeline, trained now where they were not before."""


class TunableRow(Row):
    """A row of one ranking, with settings that validation may choose."""

    @abstractmethod
    def candidates(self) -> list[TunableRow]:
        """Itself with every combination of its grid, but for what is set already; none where nothing is left."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What its grid may change."""

    @abstractmethod
    def identity(self, pipeline: Pipeline) -> Any:
        """Plain values that change with whatever the row is, but for the dataset."""

    def before_validation(self) -> Row:
        """The row as validation may judge it: it has learnt from nothing of it."""
        return self


@dataclass(frozen=True)
class BaselineRow(TunableRow):
    """A plugin of kind baseline.

    Args:
        grid: values of its own settings, set already or not; None takes its plugin's.
    """

    made: MadeBaseline
    grid: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.made.name

    def require(self, pipeline: Pipeline) -> None:
        require_texts(self.made, pipeline)

    def fitted(self, pipeline: Pipeline) -> list[FittedRow]:
        fitted = fitted_baseline(self.made, pipeline)
        made_of = [fitted.artefact, *fitted.parents]
        seconds, peak = seconds_of(made_of), peak_of(made_of)
        return [FittedRow(self.name, fitted.score, fitted.artefact, seconds, peak, self.settings(), fitted.was_there)]

    def candidates(self) -> list[TunableRow]:
        given = self.made.settings.model_dump(mode="json", exclude_unset=True)
        tried = _free(self.made.component.candidates(), given) if self.grid is None else combinations(self.grid)
        return [BaselineRow(made_baseline(self.name, merged(given, each))) for each in tried]

    def settings(self) -> dict[str, Any]:
        return self.made.settings.model_dump(mode="json")

    def identity(self, pipeline: Pipeline) -> Any:
        reads = pipeline.with_true_texts().text_identity() if needs_text_vectors(self.made) else []
        return [component_identity(self.made.component), self.settings(), *reads]


@dataclass(frozen=True)
class EncoderRow(TunableRow):
    """A graph encoder, trained as stage 1 trains the run's own.

    Args:
        changes: to section graph of the run's recipe.
        grid: values of that section's settings, changed already or not; None takes the encoder's plugin's.
    """

    name: str
    changes: Mapping[str, Any]
    grid: Mapping[str, Any] | None = None

    def require(self, pipeline: Pipeline) -> None:
        self._sibling(pipeline).checked("pretrain-graph")

    def fitted(self, pipeline: Pipeline) -> list[FittedRow]:
        return [encoder_row(self.name, self._sibling(pipeline), self.settings())]

    def candidates(self) -> list[TunableRow]:
        if self.grid is not None:
            tried = combinations(self.grid) if self.grid else []
            return [replace(self, changes=merged(self.changes, each), grid=None) for each in tried]
        component = installed().find("encoder", self.changes["encoder"])
        free = _free(component.candidates(), self.changes.get("options", {}))
        return [self.with_options(**each) for each in free]

    def with_options(self, **options: Any) -> EncoderRow:
        """The same encoder with some of its own settings changed."""
        return replace(self, changes={**self.changes, "options": {**self.changes.get("options", {}), **options}})

    def settings(self) -> dict[str, Any]:
        return dict(self.changes)

    def identity(self, pipeline: Pipeline) -> Any:
        sibling = self._sibling(pipeline)
        recipe = sibling.recipe
        component = installed().find("encoder", recipe.graph.encoder)
        options = component_options(recipe, "encoder").model_dump(mode="json")
        reads = sibling.text_identity() if encoder_needs_text_vectors(recipe) else []
        return [component_identity(component), recipe.graph.model_dump(mode="json"), options, *reads]

    def before_validation(self) -> EncoderRow:
        return replace(self, changes={**self.changes, "refit": False})

    def _sibling(self, pipeline: Pipeline) -> Pipeline:
        # No stage reads the second encoder, the one on the graph without targets.
        changes = {"graph": {"alignment_holdout": 0.0, **self.changes}}
        return pipeline.sibling(self.name, variant_of(pipeline.recipe, changes))


@dataclass(frozen=True)
class VariantRow(Row):
    """The run's own model with other settings, trained through all stages."""

    name: str
    changes: Mapping[str, Any]

    def counterparts(self) -> dict[str, str]:
        return {self.language: LANGUAGE_ROW, self.name: MODEL_ROW}

    @property
    def language(self) -> str:
        """The name of the language model's own ranking."""
        return f"{self.name}-llm"

    def require(self, pipeline: Pipeline) -> None:
        self._sibling(pipeline).checked("index")

    def fitted(self, pipeline: Pipeline) -> list[FittedRow]:
        rows = language_rows(self._sibling(pipeline), self.name, self.language)
        return [replace(row, settings=dict(self.changes)) for row in rows]

    def _sibling(self, pipeline: Pipeline) -> Pipeline:
        return pipeline.sibling(self.name, variant_of(pipeline.recipe, self.changes))


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
        InputError: nothing has that name, its settings are wrong, or another row is called so.
        GltaError: a baseline cannot be imported or made.
    """
    rows: list[Row] = []
    taken = {recipe.graph.encoder, LANGUAGE_ROW, MODEL_ROW}
    for name, options in listed.items():
        if name == recipe.graph.encoder and not options and row_kind(name) == "encoder":
            say(f"{name} is the run's own graph encoder: it has a row already, which is not tuned")
            continue
        row = _row(name, options, recipe)
        names = set(row.counterparts()) or {row.name}
        if names & taken:
            raise _called_alike(row)
        taken |= names
        rows.append(row)
    return rows


def _called_alike(row: Row) -> InputError:
    if isinstance(row, BaselineRow):
        described = f"the baseline '{row.name}' of {row.made.component.origin}"
        return InputError(
            f"{described} is called like a row the report has already", hint="leave it out; its author can rename it"
        )
    return InputError(
        f"'{row.name}' is called like a row the report has already",
        hint="leave it out; a variant can have another name",
    )


def _row(name: str, options: Mapping[str, Any], recipe: Recipe) -> Row:
    key = ("evaluate", "baselines", name)
    grid = recipe.evaluate.grids.get(name)
    if name in recipe.evaluate.variants:
        if options:
            raise InputError(
                f"the variant '{name}' takes no settings of its own",
                hint=f"change them with --set evaluate.variants.{name}.SECTION.KEY=VALUE",
            )
        return _variant(name, recipe.evaluate.variants[name], recipe)
    if row_kind(name) == "encoder":
        own_settings("encoder", name, options, key)
        changes = {"encoder": name, "options": dict(options)}
        return EncoderRow(name, changes, None if grid is None else {"options": grid})
    _require_known(name, recipe)
    return BaselineRow(made_baseline(name, options), grid)


def _variant(name: str, changes: Mapping[str, Any], recipe: Recipe) -> Row:
    variant = variant_of(recipe, changes, ("evaluate", "variants", name))
    if not is_encoder_alone(changes, recipe):
        return VariantRow(name, changes)
    if "graph" not in changes:
        raise InputError(
            f"the variant '{name}' changes {', '.join(changes) or 'nothing'}, which has no effect: "
            "its recipe stops after the graph encoder",
            hint="leave it out, or let the recipe go on to the language model: --set finetune.enabled=true",
        )
    # With the options the recipe itself gives its encoder, which the variant keeps.
    changed = {"encoder": variant.graph.encoder, **changes["graph"], "options": dict(variant.graph.options)}
    given = recipe.evaluate.grids.get(name)
    return EncoderRow(name, changed, _shipped_grid(name, changes, variant.graph) if given is None else given["graph"])


def _shipped_grid(name: str, changes: Mapping[str, Any], graph: GraphSettings) -> Mapping[str, Any] | None:
    """Without what the recipe itself sets, which the variant keeps: that is not to be tuned.

    Args:
        graph: the section as the variant has it.
    """
    if name not in GRIDS or changes != VARIANTS[name]:
        return None
    usual = GraphSettings()
    grid = {setting: values for setting, values in GRIDS[name]["graph"].items() if setting != "options"}
    free = {setting: values for setting, values in grid.items() if getattr(graph, setting) == getattr(usual, setting)}
    given = set(graph.options) - set(changes["graph"].get("options", {}))
    options = GRIDS[name]["graph"].get("options", {})
    left = {option: values for option, values in options.items() if option not in given}
    return {**free, "options": left} if left else free


def _require_known(name: str, recipe: Recipe) -> None:
    """Raise the registry's `InputError` where no baseline is called so, with the nearest names of all rows."""
    try:
        installed().find("baseline", name)
    except InputError as error:
        encoders = [component.name for component in installed().of_kind("encoder")]
        baselines = [component.name for component in installed().of_kind("baseline")]
        variants = list(recipe.evaluate.variants)
        said, newline, causes = (error.hint or "").partition("\n")
        if all(component.name != name for component in installed().components):
            said = f"`glta plugins` lists baselines and encoders; variants are {', '.join(variants)}"
        error.hint = (did_you_mean(name, [*baselines, *encoders, *variants]) or said) + newline + causes
        raise


def require_rows(rows: Sequence[Row], pipeline: Pipeline, *, tune: bool) -> None:
    """Raise what is known to keep a row from being trained, such as texts it cannot have: `InputError`, `GltaError`.

    Args:
        tune: whether their settings are to be chosen from their grids.
    """
    for row in rows:
        row.require(pipeline)
        if tune and isinstance(row, TunableRow):
            # A plugin's grid may hold what its settings refuse.
            for candidate in row.candidates():
                candidate.require(pipeline)


# --------------------------------------------------------------------------------------- the model's own rows


def model_rows(pipeline: Pipeline) -> list[FittedRow]:
    """The encoder, the language model's own ranking and the fused one, of a run that is trained now where it is not.

    A run that stops after stage 1 is its encoder.
    """
    pipeline.ensure(pipeline.last_stage)
    encoder = encoder_row(pipeline.recipe.graph.encoder, pipeline)
    return [encoder, *(language_rows(pipeline, MODEL_ROW, LANGUAGE_ROW) if pipeline.recipe.finetune.enabled else [])]


def language_rows(pipeline: Pipeline, model: str, language: str) -> list[FittedRow]:
    """The language model's own ranking and the fused one; without fusion the former is the model's.

    Args:
        model, language: what the rows are called.
    """
    index = Index(pipeline.ensure("index"))
    prepared = pipeline.prepared()
    seen = prepared.split("train"), prepared.split("valid")
    stages = [artefact for name, artefact in pipeline.reached() if name != "prepare"]
    seconds, peak = seconds_of(stages), peak_of(stages)
    rows = []
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
    """What it took to make them; where a training was interrupted and continued, all of its time."""
    return sum(max(float(each.manifest["seconds"]), _training_seconds(each)) for each in artefacts)


def _training_seconds(artefact: Artefact) -> float:
    """Of all trainings of a stage: its manifest's own time begins with the last start."""
    trained = (seconds for name, seconds in numbers(artefact.details) if name.split(".")[-1] == "training_seconds")
    return float(sum(trained))


def peak_of(artefacts: Sequence[Artefact]) -> int | None:
    peaks = [int(each.manifest["peak_memory"]) for each in artefacts if "peak_memory" in each.manifest]
    return max(peaks, default=None)
