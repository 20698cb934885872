"""How much a language model computes for a token, and how many tokens prompts have: counted for an estimate of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from glta_cli.plugin.registry import installed
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.selection import component_options, generates

# Of titles and short descriptions in the languages subword vocabularies are made for.
CHARACTERS_PER_TOKEN = 3.5
TEXTS_LOOKED_AT = 2000


@dataclass(frozen=True)
class ModelWork:
    """Operations a token takes on its way through a model.

    Attributes:
        layers: through the layers that run, forward, without attention to the tokens before, which is little beside.
        output: through the head over the vocabulary, for a token to be written.
        hidden: width of its states.
    """

    layers: float
    output: float
    hidden: int


def model_work(recipe: Recipe, *, full_depth: bool = False) -> ModelWork:
    """What the recipe's backbone takes a token; nothing of one that reads no text.

    Args:
        full_depth: as writing words takes all layers.
    """
    component = installed().find("backbone", recipe.backbone.name)
    layers = None if full_depth else recipe.backbone.layers
    size = component.size(recipe.backbone, component_options(recipe, "backbone"))
    if size is None or (layers or 0) > size.layers:
        # With it come the libraries of language models.
        from glta_cli.language.counted_model import counted_model

        return ModelWork(*counted_model(recipe, layers))
    return ModelWork(
        # Every weight of a layer takes one multiplication and one addition.
        2.0 * ((layers or size.layers) * size.layer_parameters + size.other_parameters),
        2.0 * size.vocabulary * size.hidden if generates(component.declaration) else 0.0,
        size.hidden,
    )


def mean_tokens(texts: Sequence[str], most: int) -> float:
    """Tokens of a text that is cut to `most`, on average, from the characters of up to some thousands of them."""
    step = max(1, len(texts) // TEXTS_LOOKED_AT)
    lengths = np.array([len(text) for text in texts[::step]], dtype=float)
    return float(np.minimum(most, 1 + lengths / CHARACTERS_PER_TOKEN).mean()) if len(lengths) else 0.0


def word_tokens(text: str) -> float:
    """Tokens of a wording."""
    return len(text) / CHARACTERS_PER_TOKEN
