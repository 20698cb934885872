"""What a recipe's language model takes as a stage loads it: weights, tokenizer, and the bytes of a token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from glta_cli.core.process_memory import machine_memory
from glta_cli.language.memory_plan import architecture_of
from glta_cli.language.model_memory import (
    FLOAT32,
    activation_bytes,
    attended_bytes,
    meta_model,
    parameter_count,
    read_bytes,
    weight_bytes,
    written_bytes,
)
from glta_cli.plugin.adapters import attach_adapters
from glta_cli.plugin.architecture import choose_dtype, exit_after
from glta_cli.plugin.registry import installed
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.selection import generates, reads_text
from glta_cli.stages.memory_moments import BYTES, FILE, Parts, Sizes

# Of a device's memory, beyond which processes share the weights where that is left to the machine.
ROOM_FOR_WEIGHTS = 0.6
# Of an entry of a vocabulary, while the tokenizer's file is parsed and its entries are looked over: what that took
# stays with the allocator, in pieces. Measured of SmolLM2's 49,152.
TOKENIZER_ENTRY = 900
# Embeddings that are read for the scale that projected tokens start with, whatever a prompt says.
SCALED_BY = 4096
# As a part: weights that lie in the process until they go to another device.
DRAWN = "drawn weights"


@dataclass(frozen=True)
class LoadedModel:
    """A language model as a stage loads it, in bytes.

    Attributes:
        depth: layers that run.
        vocabulary: entries.
        parameters: of adapters.
        words: of the tokenizer, and of those embeddings that are read though the others stay mapped.
        read, kept, attended, written: a token, as `read_bytes`, `activation_bytes`, `attended_bytes` and
            `written_bytes` count them.
        rows: of the catalogue that the head has here.
        loading: bytes by part of what the process has beside the weights while they are loaded: the file they are read
            from, where it is of another dtype or for another device, or weights drawn for another device.
    """

    hidden: int
    depth: int
    vocabulary: int
    weights: int
    parameters: int
    words: int
    read: int
    kept: int
    attended: int
    written: int
    rows: int
    loading: Parts

    @property
    def continued(self) -> int:
        """Bytes of the keys and values of a token that a pass with gradients goes on after: joined with its own and,
        where several heads of queries share them, a copy for each."""
        return self.written + (self.attended if self.attended > self.written else 0)


def loaded_model(sizes: Sizes, recipe: Recipe, *, adapters: bool = False, whole: bool = False) -> LoadedModel:
    """The recipe's backbone, counted on torch's meta device.

    Args:
        adapters: with those the recipe asks for.
        whole: all layers, whatever exit the recipe takes.

    Raises:
        InputError: an early exit deeper than the model.
    """
    settings = recipe.backbone
    config = architecture_of(recipe)
    text = config.get_text_config()
    if not reads_text(recipe):
        token = FLOAT32 * text.hidden_size
        return LoadedModel(text.hidden_size, 0, 0, 0, 0, 0, token, token, token, token, sizes.items, {})
    if settings.layers is not None and not whole:
        exit_after(config, settings.layers)
    # Asked first: whoever makes a model by a configuration writes its own dtype there.
    stored, dtype = config.dtype or torch.float32, choose_dtype(settings.dtype, sizes.device)
    writes = generates(installed().find("backbone", settings.name).declaration)
    model = meta_model(config, dtype, generates=writes)
    weights = weight_bytes(model, settings)
    read, attended, written = read_bytes(model, dtype), attended_bytes(model, dtype), written_bytes(model, dtype)
    plain = parameter_count(model)
    if adapters and settings.lora is not None:
        model = attach_adapters(model, settings.lora)
    kept = activation_bytes(model, settings, dtype)
    adapted = parameter_count(model) - plain
    embedded = _embedded_bytes(model)
    layers = weights - embedded
    words = TOKENIZER_ENTRY * text.vocab_size if text.vocab_size > BYTES else 0
    # By all of them, mapped or not, as the backbone decides.
    shared = shares_weights(sizes, recipe, weights)
    loading: Parts = {}
    if not stays_mapped(sizes, recipe, stored, dtype):
        loading = _where_from(recipe, sizes.device, weights, plain * stored.itemsize)
    elif not whole:
        weights -= embedded
        words += min(embedded, SCALED_BY * text.hidden_size * dtype.itemsize)
    if shared:
        # Two layers are whole at a time: the one that computes, and the next, which is gathered meanwhile.
        gathered = 2 * layers // max(1, text.num_hidden_layers)
        weights += -(-layers // sizes.processes) + gathered - layers
    return LoadedModel(
        text.hidden_size,
        text.num_hidden_layers,
        text.vocab_size,
        weights,
        adapted,
        words,
        read,
        kept,
        attended,
        written,
        sizes.items,
        loading,
    )


def shares_weights(sizes: Sizes, recipe: Recipe, weights: int) -> bool:
    """Whether each process holds a part of every layer alone, as `backbone.shard` says."""
    settings = recipe.backbone
    if sizes.processes == 1 or settings.device_map is not None or settings.quantization != "none":
        return False
    if settings.shard != "auto":
        return settings.shard
    if sizes.device.type == "cuda":
        there = int(torch.cuda.get_device_properties(sizes.device).total_memory)
    else:
        there = (machine_memory() or 0) // sizes.processes
    return weights > ROOM_FOR_WEIGHTS * there


def stays_mapped(sizes: Sizes, recipe: Recipe, stored: torch.dtype, dtype: torch.dtype) -> bool:
    """Whether weights are read from the file they are mapped from, in which no pass touches more than some embeddings.

    So it is on a processor that computes in the dtype of the file.
    """
    return sizes.device.type == "cpu" and recipe.backbone.weights == "pretrained" and dtype == stored


def _where_from(recipe: Recipe, device: torch.device, weights: int, stored: int) -> Parts:
    """What a process has beside the weights until all of them are made."""
    if recipe.backbone.weights == "pretrained":
        return {FILE: stored}
    return {} if device.type == "cpu" else {DRAWN: weights}


def _embedded_bytes(model: Any) -> int:
    """Bytes of embeddings and output head, which lie outside the layers; shared ones once."""
    outside = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    head = model.get_output_embeddings()
    tensors = {module.weight for module in (*outside, *([] if head is None else [head]))}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
