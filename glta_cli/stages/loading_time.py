"""How long a language model takes to be there, said before it is loaded to answer somebody who waits."""

from __future__ import annotations

import torch

from glta_cli.core.counts import counted
from glta_cli.core.terminal import say
from glta_cli.language.memory_plan import architecture_of
from glta_cli.language.model_memory import meta_model, parameter_count
from glta_cli.plugin.architecture import exit_after
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.selection import reads_text

# Of weights, read from a disk and laid out; a choice, on the safe side of what two machines without a GPU did.
PARAMETERS_A_SECOND = 5e7
# What is over sooner needs no word.
SHORT_SECONDS = 3


def tell_loading(recipe: Recipe, purpose: str) -> None:
    """Say on stderr that the recipe's backbone is being loaded, and for about how long where that is more than seconds.

    Args:
        purpose: why, as the end of a sentence.
    """
    seconds = loading_seconds(recipe)
    if seconds > SHORT_SECONDS:
        say(f"loading {recipe.backbone.name} {purpose}: about {counted(round(seconds), 'second')}")


def loading_seconds(recipe: Recipe) -> float:
    """About how long the recipe's backbone takes to load, by the number of its parameters."""
    if not reads_text(recipe):
        return 0.0  # a control without a language model
    config = architecture_of(recipe)
    if recipe.backbone.layers is not None:
        exit_after(config, recipe.backbone.layers)
    return parameter_count(meta_model(config, torch.float32, generates=False)) / PARAMETERS_A_SECOND
