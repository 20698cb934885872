"""How much a language model computes for a token, and how many tokens prompts have: counted for an estimate of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from glta_cli.language.memory_plan import architecture_of
from glta_cli.language.model_memory import meta_model, parameter_count
from glta_cli.plugin.architecture import exit_after
from glta_cli.plugin.registry import installed
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.selection import generates, reads_text

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
    config = architecture_of(recipe)
    text = config.get_text_config()
    if not reads_text(recipe):
        return ModelWork(0.0, 0.0, text.hidden_size)
    if recipe.backbone.layers is not None and not full_depth:
        exit_after(config, recipe.backbone.layers)
    writes = generates(installed().find("backbone", recipe.backbone.name).declaration)
    model = meta_model(config, torch.float32, generates=False)
    embedded = sum(module.weight.numel() for module in model.modules() if isinstance(module, torch.nn.Embedding))
    # Every weight of a layer takes one multiplication and one addition.
    layers = 2.0 * (parameter_count(model) - embedded)
    return ModelWork(layers, 2.0 * text.vocab_size * text.hidden_size if writes else 0.0, text.hidden_size)


def mean_tokens(texts: Sequence[str], most: int) -> float:
    """Tokens of a text that is cut to `most`, on average, from the characters of up to some thousands of them."""
    step = max(1, len(texts) // TEXTS_LOOKED_AT)
    lengths = np.array([len(text) for text in texts[::step]], dtype=float)
    return float(np.minimum(most, 1 + lengths / CHARACTERS_PER_TOKEN).mean()) if len(lengths) else 0.0


def word_tokens(text: str) -> float:
    """Tokens of a wording."""
    return len(text) / CHARACTERS_PER_TOKEN
