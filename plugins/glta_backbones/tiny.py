"""A small Llama with random weights: the whole pipeline in seconds, without any download."""

from __future__ import annotations

from typing import Any

import torch
from transformers import LlamaConfig

from glta_backbones.byte_tokenizer import VOCABULARY_SIZE, byte_tokenizer
from glta_backbones.causal_lm import CausalLanguageModel, load_causal_lm
from glta_backbones.settings import TinyOptions
from glta_backbones.sharding import require_sharing
from glta_cli.plugin import BackboneSettings, Demand, fingerprint


class Tiny:
    """The `tiny` backbone; its weights are random whatever the recipe says, and always the same."""

    def __init__(self, name: str, settings: BackboneSettings, options: TinyOptions) -> None:
        self.name = name
        self.settings = settings
        self.options = options

    def identity(self) -> str:
        return f"{self.name}:{fingerprint(self.options.model_dump())}"

    def architecture(self) -> Any:
        return LlamaConfig(
            vocab_size=VOCABULARY_SIZE,
            hidden_size=self.options.hidden_size,
            intermediate_size=4 * self.options.hidden_size,
            num_hidden_layers=self.options.depth,
            num_attention_heads=self.options.heads,
            num_key_value_heads=self.options.heads,
            max_position_embeddings=4096,
            bos_token_id=None,
            eos_token_id=VOCABULARY_SIZE - 1,
            pad_token_id=VOCABULARY_SIZE - 2,
            tie_word_embeddings=True,
        )

    def check_demand(self, demand: Demand) -> None:
        """Whether the wordings can be used, and the weights be shared: it loads otherwise."""
        require_sharing(self.settings)
        demand.longer_than(byte_tokenizer(), None)

    def load(self, device: torch.device, *, full_depth: bool = False) -> CausalLanguageModel:
        return load_causal_lm(self.architecture(), None, byte_tokenizer(), self.settings, device, full_depth=full_depth)
