"""The language model a recipe selects, and what changes when it computes something else."""

from __future__ import annotations

from typing import Any

import torch

from glta_cli.core.files import fingerprint
from glta_cli.core.world import launched
from glta_cli.plugin import Backbone
from glta_cli.plugin.architecture import choose_dtype
from glta_cli.plugin.identity import component_identity
from glta_cli.plugin.registry import installed
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.selection import component_options

# Settings that say where weights and activations lie, and change nothing that is computed.
MEMORY_ALONE = ("gradient_checkpointing", "device_map", "shard")


def backbone_of(recipe: Recipe) -> Backbone:
    """The recipe's backbone, constructed but not loaded.

    One process alone, such as one that answers from what several trained, has nobody to share weights with.
    """
    settings = recipe.backbone
    if settings.shard is True and launched().size == 1:
        settings = settings.model_copy(update={"shard": False})
    component = installed().find("backbone", settings.name)
    backbone: Backbone = component.build(settings.name, settings, component_options(recipe, "backbone"))
    return backbone


def frozen_backbone_settings(recipe: Recipe) -> dict[str, Any]:
    """The backbone without its adapters, which only stage 3 trains, and without what only saves memory."""
    settings = recipe.backbone.model_dump(mode="json", exclude={"lora", *MEMORY_ALONE})
    return settings | {"plugin": component_identity(installed().find("backbone", recipe.backbone.name))}


def model_identity(recipe: Recipe, device: torch.device, *, full_depth: bool = False) -> str:
    """Changes with whatever decides what the frozen model computes: weights, tokenizer, depth and resolved dtype."""
    settings = frozen_backbone_settings(recipe)
    if full_depth:
        settings["layers"] = None
    # Under `auto` the same recipe computes in another dtype on another device.
    dtype = str(choose_dtype(recipe.backbone.dtype, device))
    return fingerprint([settings, backbone_of(recipe).identity(), dtype])


def backbone_fingerprint(recipe: Recipe) -> str:
    """Changes when the language model's weights change."""
    return fingerprint(backbone_of(recipe).identity())
