"""The rows of an evaluation: baselines, graph encoders and variants, and how each is trained."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from glta_cli.core.files import fingerprint
from glta_cli.evaluation.baselines import LANGUAGE_ROW, MODEL_ROW, fitted_baseline, made_baseline, require_texts
from glta_cli.evaluation.fitted_rows import FittedRow, encoder_row, language_rows, peak_of, seconds_of
from glta_cli.plugin.grids import combinations
from glta_cli.plugin.identity import component_identity
from glta_cli.plugin.registry import installed
from glta_cli.recipe.selection import component_options, encoder_needs_text_vectors
from glta_cli.recipe.variants import merged, variant_of
from glta_cli.stages.baseline_memory import require_memory
from glta_cli.stages.fitted_baselines import (
    FittedBaseline,
    MadeBaseline,
    fitting_settings,
    needs_text_vectors,
    without_scoring_defaults,
)
from glta_cli.stages.stage import trained

if TYPE_CHECKING:
    from glta_cli.recipe.schema import Recipe
    from glta_cli.stages.pipeline import Pipeline


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

    def learns(self, pipeline: Pipeline) -> Any:
        """Plain values that change with whatever is fitted for the row: candidates may share what they learn."""
        return self.identity(pipeline)

    def before_validation(self) -> Row:
        """The row as validation may judge it: it has learnt from nothing of it."""
        return self


@dataclass(frozen=True)
class BaselineRow(TunableRow):
    """A plugin of kind baseline.

    Args:
        grid: values of its own settings, set already or not; None takes its plugin's.
        in_time: whether the split is in time: older items may then weigh less, and the plugin's grid for that is tried
            beside the other.
    """

    made: MadeBaseline
    grid: Mapping[str, Any] | None = None
    in_time: bool = False

    @property
    def name(self) -> str:  # type: ignore[override]
        return self.made.name

    def require(self, pipeline: Pipeline) -> None:
        require_texts(self.made, pipeline)
        require_memory(self.made, pipeline.prepared(), pipeline.workspace)

    def fitted(self, pipeline: Pipeline) -> list[FittedRow]:
        return self.as_fitted(fitted_baseline(self.made, pipeline))

    def as_fitted(self, fitted: FittedBaseline) -> list[FittedRow]:
        """Its row, of what it learnt."""
        made_of = [fitted.artefact, *fitted.parents]
        seconds, peak = seconds_of(made_of), peak_of(made_of)
        scores_with = self.made.settings.model_dump(mode="json") | fitted.chosen
        return [
            FittedRow(
                self.name,
                fitted.score,
                fitted.artefact,
                seconds,
                peak,
                self.settings() | fitted.chosen,
                fitted.was_there,
                fitted.validation_score,
                fitted.chosen,
                ranks_by=fingerprint([fitted.artefact.fingerprint, scores_with]),
            )
        ]

    def candidates(self) -> list[TunableRow]:
        given = self.made.settings.model_dump(mode="json", exclude_unset=True)
        tried = _free(self.made.component.candidates(), given) if self.grid is None else combinations(self.grid)
        if self.in_time:
            # Varying fastest: what differs in how it scores alone is fitted once, and read while it is at hand.
            set_already = given if self.grid is None else {**given, **self.grid}
            weighed = _free(self.made.component.time_candidates(), set_already)
            tried = [{**own, **older} for own in tried or [{}] for older in weighed or [{}]]
        return [
            BaselineRow(made_baseline(self.name, merged(given, each)), in_time=self.in_time) for each in tried if each
        ]

    def by_time_alone(self) -> BaselineRow:
        """Itself with nothing left to choose but, where the split is in time, what older items weigh."""
        return replace(self, grid={})

    def settings(self) -> dict[str, Any]:
        settings = self.made.settings.model_dump(mode="json")
        return settings if self.in_time else without_scoring_defaults(self.made, settings)

    def identity(self, pipeline: Pipeline) -> Any:
        settings = without_scoring_defaults(self.made, self.made.settings.model_dump(mode="json"))
        return self._content(settings, pipeline)

    def learns(self, pipeline: Pipeline) -> Any:
        return self._content(fitting_settings(self.made), pipeline)

    def _content(self, settings: dict[str, Any], pipeline: Pipeline) -> Any:
        reads = pipeline.with_true_texts().text_identity() if needs_text_vectors(self.made) else []
        return [component_identity(self.made.component), settings, *reads]


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
        sibling = self._alone(pipeline)
        recipe = sibling.recipe
        component = installed().find("encoder", recipe.graph.encoder)
        options = component_options(recipe, "encoder").model_dump(mode="json")
        reads = sibling.text_identity() if encoder_needs_text_vectors(recipe) else []
        return [component_identity(component), trained(recipe.graph, exclude=None), options, *reads]

    def before_validation(self) -> EncoderRow:
        return replace(self, changes={**self.changes, "refit": False})

    def _sibling(self, pipeline: Pipeline) -> Pipeline:
        """Who trains it: the run itself, where it is the run's own encoder under another name."""
        if _encoder_content(variant_of(pipeline.recipe, {"graph": self.changes})) == _encoder_content(pipeline.recipe):
            return pipeline
        return self._alone(pipeline)

    def _alone(self, pipeline: Pipeline) -> Pipeline:
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


def _encoder_content(recipe: Recipe) -> list[Any]:
    """Plain values that change with whatever an encoder is, but for the seed and the texts."""
    options = component_options(recipe, "encoder").model_dump(mode="json")
    return [trained(recipe.graph, exclude={"options"}), options]


def _free(candidates: Sequence[Mapping[str, Any]], given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Combinations of a grid without the settings that are given, each once."""
    free: list[dict[str, Any]] = []
    for candidate in candidates:
        left = {name: value for name, value in candidate.items() if name not in given}
        if left and left not in free:
            free.append(left)
    return free
