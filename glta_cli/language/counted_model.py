"""What a token takes in a language model whose plugin does not say how large it is: counted on the model itself."""

from __future__ import annotations

import torch

from glta_cli.language.memory_plan import architecture_of
from glta_cli.language.model_memory import meta_model, parameter_count
from glta_cli.plugin.architecture import exit_after
from glta_cli.plugin.registry import installed
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.selection import generates, reads_text


def counted_model(recipe: Recipe, layers: int | None) -> tuple[float, float, int]:
    """Operations through its layers and through its head, and the width of its states: the fields of `ModelWork`.

    Args:
        layers: that run; None for all.
    """
    config = architecture_of(recipe)
    text = config.get_text_config()
    if not reads_text(recipe):
        return 0.0, 0.0, text.hidden_size
    if layers is not None:
        exit_after(config, layers)
    writes = generates(installed().find("backbone", recipe.backbone.name).declaration)
    model = meta_model(config, torch.float32, generates=False)
    embedded = sum(module.weight.numel() for module in model.modules() if isinstance(module, torch.nn.Embedding))
    # Every weight of a layer takes one multiplication and one addition.
    operations = 2.0 * (parameter_count(model) - embedded)
    return operations, 2.0 * text.vocab_size * text.hidden_size if writes else 0.0, text.hidden_size
