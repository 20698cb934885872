"""The stages again, trained on everything known: what is served once epochs were selected on validation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from glta_cli.data.prepared import EverythingKnown, PreparedDataset
from glta_cli.recipe.schema import Recipe
from glta_cli.stages.context import StageContext
from glta_cli.stages.refit_names import REFITTED, refit_name
from glta_cli.stages.stage import Stage
from glta_cli.workspace.artefact import Artefact


class Refit(Stage):
    """A stage on all interactions, for the epochs that the same stage selected before.

    Training, validation and test interactions are all trained on, targets of stage 3 drawn from all of them. What it
    publishes is served, and never evaluated: every interaction it could be measured by is known to it.

    The other stages it reads are those of the refit, where they have one. Item texts are no interactions, so that
    `encode-items` has none.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.name = refit_name(stage.name)
        self.inputs = self._of_refit(stage.inputs)
        self.writes_words = stage.writes_words
        self.shared = stage.shared
        self.shortening = stage.shortening

    def _of_refit(self, inputs: tuple[str, ...]) -> tuple[str, ...]:
        own = (self.stage.name,) if self.stage.selects else ()
        return *own, *names_in_refit(inputs)

    def needed(self, recipe: Recipe, prepared: PreparedDataset) -> bool:
        return recipe.finetune.refit and self.stage.needed(recipe, prepared)

    def require_texts(self, prepared: PreparedDataset) -> None:
        self.stage.require_texts(prepared)

    def reads(self, recipe: Recipe) -> tuple[str, ...]:
        return self._of_refit(self.stage.reads(recipe))

    def reads_texts(self, recipe: Recipe) -> bool:
        return self.stage.reads_texts(recipe)

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        # The epochs follow from the artefact that selected them, which is among what it reads.
        return self.stage.settings(recipe)

    def loading(self, recipe: Recipe) -> Recipe:
        return self.stage.loading(recipe)

    def longest_prompt(self, recipe: Recipe, prepared: PreparedDataset, tokenizer: Any, most: int | None) -> int:
        return self.stage.longest_prompt(recipe, EverythingKnown(prepared.artefact), tokenizer, most)

    def bytes_to_write(self, context: StageContext) -> int:
        return self.stage.bytes_to_write(on_everything(context))

    def run(self, context: StageContext, state_folder: Path, folder: Path) -> dict[str, Any]:
        details = self.stage.run(on_everything(context), state_folder, folder)
        return {**details, "interactions": context.prepared.summary()["interactions"]}


def names_in_refit(stages: Iterable[str]) -> tuple[str, ...]:
    """The stages a refit has in the place of these."""
    return tuple(refit_name(name) if name in REFITTED else name for name in stages)


def on_everything(context: StageContext) -> StageContext:
    """The context of a refit: everything known is training, and each stage's artefact is that of its refit."""
    return replace(
        context,
        artefacts=_of_refit(context.artefacts),
        selected=context.artefacts,
        # What selected has not seen what it is measured by: a refit goes on from a refit alone.
        starts=_of_refit(context.starts),
    )


def _of_refit(artefacts: Mapping[str, Artefact]) -> dict[str, Artefact]:
    """Artefacts by the names of the stages, those of a refit in the place of what selected."""
    found = {name: artefact for name, artefact in artefacts.items() if name not in REFITTED}
    return found | {name: artefacts[refit_name(name)] for name in REFITTED if refit_name(name) in artefacts}
