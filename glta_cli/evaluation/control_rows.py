"""Rows of the ladder that no recipe lists: a baseline on other item vectors, and the language model alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from glta_cli.evaluation.baselines import fitted_baseline, require_texts
from glta_cli.evaluation.fitted_rows import FittedRow, encoder_row, model_rows, peak_of, seconds_of
from glta_cli.evaluation.rows import BaselineRow, Row, TunableRow
from glta_cli.plugin.scorer import Scorer
from glta_cli.recipe.fused_terms import LANGUAGE, terms_of
from glta_cli.recipe.schema import FusionSettings, Recipe
from glta_cli.recipe.variants import variant_of
from glta_cli.serving.fusion import fusion_users
from glta_cli.serving.index import Index
from glta_cli.stages.fitted_baselines import deferred_scorer
from glta_cli.stages.stage import dealt_texts

if TYPE_CHECKING:
    from glta_cli.stages.pipeline import Pipeline


@dataclass(frozen=True)
class OnOtherVectors(TunableRow):
    """A baseline on item vectors other than those the run's reader makes of what is written about each item.

    Args:
        name: of the row, and of its lines on stderr.
        row: the baseline.
        changes: to section text of the run's recipe, such as `{"shuffled": True}`.
    """

    name: str
    row: BaselineRow
    changes: Mapping[str, Any]

    def require(self, pipeline: Pipeline) -> None:
        reading = self._reading(pipeline)
        require_texts(self.row.made, reading)
        reading.checked("encode-items")

    def fitted(self, pipeline: Pipeline) -> list[FittedRow]:
        reading = self._reading(pipeline)
        [found] = self.row.as_fitted(fitted_baseline(self.row.made, reading, own_texts=True))
        return [replace(found, name=self.name)]

    def candidates(self) -> list[TunableRow]:
        rows = [each for each in self.row.candidates() if isinstance(each, BaselineRow)]
        return [replace(self, row=each) for each in rows]

    def by_time_alone(self) -> OnOtherVectors:
        """Itself with nothing left to choose but, where the split is in time, what older items weigh."""
        return replace(self, row=self.row.by_time_alone())

    def settings(self) -> dict[str, Any]:
        return self.row.settings()

    def identity(self, pipeline: Pipeline) -> Any:
        return [self.row.identity(pipeline), *self._vectors(pipeline)]

    def learns(self, pipeline: Pipeline) -> Any:
        return [self.row.learns(pipeline), *self._vectors(pipeline)]

    def _vectors(self, pipeline: Pipeline) -> list[Any]:
        reading = self._reading(pipeline)
        return [reading.text_identity(), dealt_texts(reading.recipe)]

    def _reading(self, pipeline: Pipeline) -> Pipeline:
        """A sibling whose only term is this row, so that it has the vectors read that the row asks for."""
        recipe = pipeline.recipe
        changed = {
            "text": recipe.text.model_copy(update=dict(self.changes)),
            "fusion": FusionSettings(terms=(self.row.name,)),
            "finetune": recipe.finetune.model_copy(update={"fusion": True}),
        }
        return pipeline.sibling(self.name, recipe.model_copy(update=changed))


@dataclass(frozen=True)
class LanguageModelRow(Row):
    """The language model's own ranking, of the run or of a variant of it, which is trained through all stages.

    Args:
        changes: to the run's recipe; none for the run itself.
    """

    name: str
    changes: Mapping[str, Any]

    def require(self, pipeline: Pipeline) -> None:
        owner = self._owner(pipeline)
        if owner is not pipeline:
            owner.checked("index")

    def fitted(self, pipeline: Pipeline) -> list[FittedRow]:
        owner = self._owner(pipeline)
        index = Index(owner.ensure("index"))
        prepared = owner.prepared()
        train, validation = prepared.split("train"), prepared.split("valid")
        # A linear term that is chosen beside it is not what the language model took.
        stages = [artefact for stage, artefact in owner.reached() if stage not in ("prepare", "fit-linear")]
        validated = index.language_scorer(train)
        if prepared.split_in_time:
            validated = deferred_scorer(lambda: _by_training_histories(owner))
        return [
            FittedRow(
                self.name,
                index.language_scorer(train, validation),
                index.artefact,
                seconds_of(stages),
                peak_of(stages),
                dict(self.changes),
                validation_score=validated,
            )
        ]

    def _owner(self, pipeline: Pipeline) -> Pipeline:
        """Who has the language model among its terms: the run itself, or a sibling that has no other."""
        if not self.changes and LANGUAGE in terms_of(pipeline.recipe):
            return pipeline
        changed = variant_of(pipeline.recipe, self.changes)
        return pipeline.sibling(self.name, _of_language_alone(changed))


def _of_language_alone(recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"fusion": FusionSettings(terms=(LANGUAGE,))})


def _by_training_histories(pipeline: Pipeline) -> Scorer:
    """What the language model says of the users that weights are chosen on, read out once more: [B] -> [B, I]."""
    from glta_cli.stages.read_out import read_out

    context = pipeline.context()
    users = fusion_users(context.validation, seed=context.recipe.seed)
    return read_out(context, context.embeddings(serving=True), context.train, users).scorer(context.train)


@dataclass(frozen=True)
class OwnEncoderRow(Row):
    """The run's own graph encoder, for which nothing is trained."""

    name: str

    def require(self, pipeline: Pipeline) -> None:
        """The run itself is brought up to date before its rows are asked for."""

    def fitted(self, pipeline: Pipeline) -> list[FittedRow]:
        return [encoder_row(self.name, pipeline)]


@dataclass(frozen=True)
class ServedRowOfRun(Row):
    """What the run answers from."""

    name: str

    def require(self, pipeline: Pipeline) -> None:
        """The run itself is brought up to date before its rows are asked for."""

    def fitted(self, pipeline: Pipeline) -> list[FittedRow]:
        return [replace(model_rows(pipeline)[-1], name=self.name)]
