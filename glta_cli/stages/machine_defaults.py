"""What a recipe leaves to the machine: how deep the language model is run, and whether it writes words.

Without a GPU a pass through all layers for every user, and words written about each, are hours on data for which four
layers and no words are minutes; their rankings lie close together (recipes/results/).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from glta_cli.core.errors import GltaError
from glta_cli.recipe.automatic import EARLY_EXIT, LAYERS, WORDS, Setting
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.selection import reads_text
from glta_cli.training.devices import pick_device


@dataclass(frozen=True)
class Fitted:
    """A recipe without anything left open, and what is to be said of it: nothing, or a line."""

    recipe: Recipe
    told: str | None


def has_gpu(device: str | None = None) -> bool:
    """Whether the device of that name, or the one that is found, computes faster than a CPU; raises `GltaError`."""
    return pick_device(device).type != "cpu"


def fitted(recipe: Recipe, automatic: Collection[Setting], device: str | None = None) -> Fitted:
    """The recipe with the values that fit the device in place of what it leaves open.

    Args:
        automatic: the keys of what it leaves open.
        device: a torch device by name; None looks for one.

    Raises:
        GltaError: the machine has no such device.
    """
    if not automatic or not recipe.finetune.enabled:
        # Where it stops after the encoder no stage asks: it stays what it was before there was a choice.
        return Fitted(recipe, None)
    if has_gpu(device):
        return Fitted(_with(recipe, dict.fromkeys(WORDS, reads_text(recipe)), automatic), None)
    depth = _depth(recipe) if reads_text(recipe) else None
    layers = early_exit(recipe, depth)
    chosen = _with(recipe, {LAYERS: layers, **dict.fromkeys(WORDS, False)}, automatic)
    return Fitted(chosen, _told(chosen, automatic, depth))


def early_exit(recipe: Recipe, depth: int | None) -> int | None:
    """Layers to run without a GPU: no fewer than adapters are asked for in; None for all of a model that has no more.

    Args:
        depth: layers of the model; None where they are not known, or there are none.
    """
    if depth is None:
        return None
    lora = recipe.backbone.lora
    wanted = max(EARLY_EXIT, lora.layers or 0) if lora is not None else EARLY_EXIT
    return wanted if wanted < depth else None


def _depth(recipe: Recipe) -> int | None:
    # With it come the libraries of language models, which whoever asks for the device alone does not wait for.
    from glta_cli.language.memory_plan import architecture_of

    try:
        depth = getattr(architecture_of(recipe).get_text_config(), "num_hidden_layers", None)
    except GltaError:
        # It cannot be reached or is none; whoever loads it says so. Most have more layers than run here.
        return EARLY_EXIT + 1
    return int(depth) if depth else None


def _with(recipe: Recipe, values: dict[Setting, Any], automatic: Collection[Setting]) -> Recipe:
    sections: dict[str, dict[str, Any]] = {}
    for (section, name), value in values.items():
        if (section, name) in automatic:
            sections.setdefault(section, {})[name] = value
    changed = {section: getattr(recipe, section).model_copy(update=each) for section, each in sections.items()}
    for section, each in sections.items():
        # Nobody asked for it: what cannot be had, as words about items without texts, is left out without an error.
        changed[section].model_fields_set.difference_update(each)
    return recipe.model_copy(update=changed)


def _told(recipe: Recipe, automatic: Collection[Setting], depth: int | None) -> str | None:
    """What was chosen without a GPU, and how to have the rest; None where all is as it would be with one."""
    chosen, instead = [], []
    if LAYERS in automatic and recipe.backbone.layers is not None:
        chosen.append(f"{recipe.backbone.layers} of {depth} layers")
        instead.append("backbone.layers=null")
    words = [key for key in WORDS if key in automatic]
    if words and reads_text(recipe):
        chosen.append("no generated words")
        instead += [f"{'.'.join(key)}=true" for key in words]
    if not chosen:
        return None
    return f"no GPU: {' and '.join(chosen)}; to have all: {' '.join(f'--set {each}' for each in instead)}"
