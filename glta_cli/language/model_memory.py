"""What one language model takes, counted on torch's meta device: weights, activations, logits of a step."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM

from glta_cli.plugin.settings import BackboneSettings
from glta_cli.training.losses import CHUNK_LOGITS

FLOAT32 = 4
INT64 = 8
# NF4 stores a scale per 64 weights, itself quantised to 8 bits with one float32 per 256 of them.
BYTES_4BIT = 0.5 + (1 + FLOAT32 / 256) / 64
# LLM.int8() stores one float32 scale per output row, little beside the row itself.
BYTES_8BIT = 1.0


def meta_model(config: Any, dtype: torch.dtype, *, generates: bool = True) -> nn.Module:
    """The whole model without memory for its weights, on torch's meta device; without a head where it only reads."""
    family = AutoModelForCausalLM if generates else AutoModel
    with torch.device("meta"):
        model: nn.Module = family.from_config(config, dtype=dtype)
    return model


def parameter_count(model: nn.Module) -> int:
    """Parameters of a model, shared ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def weight_bytes(model: Any, settings: BackboneSettings) -> int:
    """Bytes of the language model's weights; quantisation packs its linear layers but for the output head."""
    total = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    if settings.quantization == "none":
        return total
    per_weight = BYTES_8BIT if settings.quantization == "8bit" else BYTES_4BIT
    head = model.get_output_embeddings()
    packed = [layer.weight for layer in model.modules() if isinstance(layer, nn.Linear) and layer is not head]
    saved = sum(weight.numel() * (weight.element_size() - per_weight) for weight in packed)
    return math.ceil(total - saved)


def activation_bytes(model: nn.Module, settings: BackboneSettings, dtype: torch.dtype) -> int:
    """Bytes kept for the backward pass, per token of a batch.

    With h the width of the states, a that of the queries, c of the keys and values together, m of the
    feed-forward layer, s bytes a value, a layer of a Llama with frozen weights keeps

        2h·4            both norms: their input in float32
        (2a + c)·s      queries, keys, values, and what attention returns
        3m·s            gate, its activation, and the other factor

    and a pass back has 2m·s beside it: the gradients of both factors. With adapters it keeps the float32 input of every
    adapted layer and of its second factor too. Without checkpointing every layer keeps this; with it every layer keeps
    its input, and one at a time the rest.
    Attention is taken to be a fused kernel, which keeps no L × L matrix.
    """
    text: Any = model.config.get_text_config()  # type: ignore[union-attr, operator]
    size = dtype.itemsize
    hidden, depth = text.hidden_size, text.num_hidden_layers
    heads = text.num_attention_heads
    queries = heads * _head_width(text)
    keys_values = 2 * (getattr(text, "num_key_value_heads", None) or heads) * _head_width(text)
    feed_forward = getattr(text, "intermediate_size", None) or 4 * hidden
    layer = 2 * hidden * FLOAT32 + (2 * queries + keys_values) * size + 3 * feed_forward * size
    layer += _adapter_activation_bytes(model) // depth
    around = hidden * (2 * size + FLOAT32) + 2 * feed_forward * size
    if settings.gradient_checkpointing:
        return depth * hidden * size + layer + around
    return depth * layer + around


def attended_bytes(model: nn.Module, dtype: torch.dtype) -> int:
    """Bytes kept, per token of a batch, of tokens no gradient flows into, for those behind them that look back.

    That is their keys and values in every layer, a copy for each head of the queries.
    """
    text: Any = model.config.get_text_config()  # type: ignore[union-attr, operator]
    return int(text.num_hidden_layers * 2 * text.num_attention_heads * _head_width(text) * dtype.itemsize)


def logit_bytes(queries: int, items: int, sample: int | None = None) -> int:
    """Bytes of a step's logits at their most, with `catalogue_softmax_loss` of so many queries.

    Args:
        sample: where the catalogue is larger, so many of its items are scored: exponentials and gradient, beside a
            permutation of the catalogue. Otherwise one chunk of whole rows is overwritten
            again and again.
    """
    if sample is not None and sample < items:
        return 2 * FLOAT32 * queries * sample + INT64 * items
    return FLOAT32 * items * min(queries, max(1, CHUNK_LOGITS // max(1, items)))


def _head_width(text: Any) -> int:
    return int(getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads)


def _adapter_activation_bytes(model: nn.Module) -> int:
    factors = (module for name, module in model.named_modules() if ".lora_A." in name or ".lora_B." in name)
    return sum(FLOAT32 * factor.in_features for factor in factors if isinstance(factor, nn.Linear))


def read_bytes(model: nn.Module, dtype: torch.dtype) -> int:
    """Bytes a pass without gradients has at once, per token of a batch: what one layer makes, whatever the depth.

    With the letters of `activation_bytes`: 3m·s + 3h·4, the feed-forward layer at its widest beside the states before,
    inside and behind the norm.
    """
    text: Any = model.config.get_text_config()  # type: ignore[union-attr, operator]
    feed_forward = getattr(text, "intermediate_size", None) or 4 * text.hidden_size
    return int(3 * feed_forward * dtype.itemsize + 3 * text.hidden_size * FLOAT32)


def written_bytes(model: nn.Module, dtype: torch.dtype) -> int:
    """Bytes of the keys and values of one token in all layers, as words are generated behind it."""
    text: Any = model.config.get_text_config()  # type: ignore[union-attr, operator]
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    return int(text.num_hidden_layers * 2 * heads * _head_width(text) * dtype.itemsize)
