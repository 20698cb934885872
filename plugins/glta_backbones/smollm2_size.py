"""The architecture of SmolLM2-135M and how large that makes it, told without the library that builds it."""

from __future__ import annotations

from typing import Any

from glta_backbones.settings import SmolLM2Options
from glta_cli.plugin import BackboneSettings, BackboneSize

ARCHITECTURE: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 100000.0},
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
}


def size(settings: BackboneSettings, options: SmolLM2Options) -> BackboneSize:
    """That of a Llama: per layer four projections of attention, three of the feed-forward layer, and two norms."""
    hidden, inner = ARCHITECTURE["hidden_size"], ARCHITECTURE["intermediate_size"]
    heads, groups = ARCHITECTURE["num_attention_heads"], ARCHITECTURE["num_key_value_heads"]
    keys_and_values = 2 * hidden * (hidden // heads * groups)
    return BackboneSize(
        hidden=hidden,
        layers=ARCHITECTURE["num_hidden_layers"],
        layer_parameters=2 * hidden * hidden + keys_and_values + 3 * hidden * inner + 2 * hidden,
        other_parameters=hidden,
        vocabulary=ARCHITECTURE["vocab_size"],
    )
