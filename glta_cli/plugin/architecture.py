"""Depth and precision of a language model, settled before any of its weights are read."""

from __future__ import annotations

from typing import Any

import torch

from glta_cli.core.errors import InputError


def exit_after(config: Any, layers: int) -> None:
    """Cut a `transformers` configuration to its first `layers` layers, in place; the final norm stays.

    The dropped layers are then never built, so their weights take no memory.

    Raises:
        InputError: the model has fewer layers.

    Example:
        from transformers import Qwen2Config

        from glta_cli.plugin import exit_after

        config = Qwen2Config(num_hidden_layers=12)
        exit_after(config, 4)
        assert config.num_hidden_layers == 4
    """
    text = config.get_text_config()
    depth: int = text.num_hidden_layers
    if layers > depth:
        raise InputError(
            f"{layers} layers are asked for, the model has {depth}",
            location="backbone.layers",
            hint=f"at most {depth}; null runs all",
        )
    # Some families describe each layer in a list, which must be as long as the model is deep.
    for name, value in vars(text).items():
        if isinstance(value, list) and len(value) == depth and "layer" in name:
            setattr(text, name, value[:layers])
    text.num_hidden_layers = layers


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype of the weights; `auto` is float32, or bfloat16 on a GPU that computes in it.

    Example:
        import torch

        from glta_cli.plugin import choose_dtype

        assert choose_dtype("auto", torch.device("cpu")) == torch.float32
    """
    if name != "auto":
        dtype: torch.dtype = getattr(torch, name)
        return dtype
    # A CPU computes in float32 even where AMX multiplies bfloat16 eight times as fast: the states of two users
    # differ little, and the rounding costs a fourteenth of stage 3's NDCG. Without AMX it would be slower as well.
    fast_bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if fast_bfloat16 else torch.float32
