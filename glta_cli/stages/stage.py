"""What every stage is: what it depends on, what it reads, what it publishes, and what its manifest says."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic.fields import FieldInfo

from glta_cli.data.prepared import PreparedDataset
from glta_cli.plugin.settings import Settings
from glta_cli.recipe.schema import Recipe, TrainingSettings
from glta_cli.recipe.selection import model_takes_texts
from glta_cli.stages.context import StageContext
from glta_cli.training.loop import TrainingProgress

FLOAT = 4  # bytes of a float32

# How often a state is saved does not change what is trained.
TIMING: Any = {"training": {"checkpoint_seconds"}}
# Wherever edges lie, the sums over them are the same.
PLACES = ("edges",)
# Settings that there were not yet when stages were published, which stay found.
CAME_LATER, TRAINING_CAME_LATER = ("neighbours", "softmax_sampling"), ("moments",)


def trained(section: Settings, exclude: Any = TIMING) -> dict[str, Any]:
    """The settings of a section with `training`, as a fingerprint has them: what came later only where it is chosen."""
    settings = section.model_dump(mode="json", exclude=exclude)
    training = TrainingSettings.model_fields
    return {
        name: _chosen(value, training, TRAINING_CAME_LATER) if name == "training" else value
        for name, value in _chosen(settings, type(section).model_fields, CAME_LATER).items()
        if name not in PLACES
    }


def _chosen(settings: dict[str, Any], fields: Mapping[str, FieldInfo], came_later: Sequence[str]) -> dict[str, Any]:
    """Settings without those that came later and have their default."""
    return {name: value for name, value in settings.items() if name not in came_later or value != fields[name].default}


class Stage(ABC):
    """One stage after `prepare`.

    Attributes:
        name: as the artefact and the manifest call it.
        inputs: the stages whose artefacts it reads, whatever the recipe.
        writes_words: whether the language model has to write.
        selects: whether it chooses an epoch on validation, which a refit takes over.
        shared: whether all processes of a command run it, each with its share of the work; else the first one does.
        shortening: keys of the recipe with which its prompts get shorter.
    """

    name: str
    inputs: tuple[str, ...]
    writes_words: bool = False
    selects: ClassVar[bool] = True
    shared: bool = False
    shortening: tuple[str, ...] = ()

    def needed(self, recipe: Recipe, prepared: PreparedDataset) -> bool:
        """Whether the recipe has this stage at all."""
        return True

    def require_texts(self, prepared: PreparedDataset) -> None:  # noqa: B027 (most need none)
        """Raise `InputError` where the dataset has no item texts, and this stage can do nothing without."""

    def reads(self, recipe: Recipe) -> tuple[str, ...]:
        """The stages whose artefacts it reads under this recipe, those the recipe leaves out among them."""
        return self.inputs

    def reads_texts(self, recipe: Recipe) -> bool:
        """Whether what it publishes may depend on titles and descriptions; without them it only reads interactions."""
        return True

    @abstractmethod
    def settings(self, recipe: Recipe) -> dict[str, Any]:
        """The part of the recipe the result depends on."""

    def settings_on(self, recipe: Recipe, prepared: PreparedDataset) -> dict[str, Any]:
        """Those settings, with what the size of the data makes of them: what the result is published under."""
        return self.settings(recipe)

    def settings_of_more(self, recipe: Recipe) -> list[dict[str, Any]]:
        """Settings under which more than this recipe needs was published, which serves it as well."""
        return []

    def loading(self, recipe: Recipe) -> Recipe:
        """The recipe with the backbone this stage loads, where it loads one, as its backbone."""
        return recipe

    def longest_prompt(self, recipe: Recipe, prepared: PreparedDataset, tokenizer: Any, most: int | None) -> int:
        """Tokens of the longest prompt it makes, what is generated behind it included; 0 without prompts.

        Where settings alone keep every prompt within `most` tokens the data is not looked at, and what they allow is
        returned.

        Raises:
            InputError: a wording cannot be used.
        """
        return 0

    def bytes_to_write(self, context: StageContext) -> int:
        """What it will write at least, in bytes: with less room than that it is not started.

        A training asks for the room of its saved states itself, once it knows its parameters, and the encoding of
        texts for that of their vectors, once it knows their size.
        """
        return 0

    @abstractmethod
    def run(self, context: StageContext, state_folder: Path, folder: Path) -> dict[str, Any]:
        """Fill `folder` and return the details for its manifest."""


class ModelStage(Stage):
    """A stage with the language model and its head."""

    def require_texts(self, prepared: PreparedDataset) -> None:
        """Raise `InputError` where the dataset has no item texts, and this stage can do nothing without."""

    def reads(self, recipe: Recipe) -> tuple[str, ...]:
        # Vectors that are there for the encoder alone are none of the model's.
        return tuple(name for name in self.inputs if name != "encode-items" or model_takes_texts(recipe))


def training_details(progress: TrainingProgress) -> dict[str, Any]:
    """What a manifest says of a training."""
    return {
        "best_epoch": progress.best_epoch,
        "best_metric": progress.best_metric,
        "steps": progress.step,
        "training_seconds": round(progress.seconds, 2),
        "history": progress.history,
    }


def details_of(progress: TrainingProgress, fixed_epochs: int | None) -> dict[str, Any]:
    """What a manifest says of a training that was told its epochs, or with None selected one."""
    return training_details(progress) if fixed_epochs is None else refit_details(progress)


def refit_details(progress: TrainingProgress) -> dict[str, Any]:
    """What a manifest says of a training that selected no epoch."""
    return {
        "epochs": progress.epoch,
        "steps": progress.step,
        "training_seconds": round(progress.seconds, 2),
        "history": progress.history,
    }


def done_before(found: Sequence[int]) -> dict[str, int]:
    """What a manifest says of results that an earlier go at the stage left it; nothing where there were none.

    Args:
        found: how many, by each look at what is kept.
    """
    return {"done_before": sum(found)} if sum(found) else {}


def dealt_texts(recipe: Recipe) -> dict[str, Any]:
    """What decides which text is an item's: nothing, or the seed where texts are shuffled."""
    return {"texts_shuffled_by": recipe.seed} if recipe.text.shuffled else {}
