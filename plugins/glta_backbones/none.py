"""No language model: the control that shows what one contributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig

from glta_backbones.byte_tokenizer import VOCABULARY_SIZE, byte_tokenizer
from glta_backbones.settings import NoneOptions
from glta_cli.plugin import BackboneSettings, InputError, choose_dtype, fingerprint


@dataclass(frozen=True)
class Seen:
    """The graph tokens before those a pass is given; one row where all prompts share them.

    Attributes:
        total: [B, 1, h], float32, their sum.
        count: [B, 1, 1], how many they are.
    """

    total: Tensor
    count: Tensor


class MeanOfTokens:
    """States without a transformer: each is the mean of the graph tokens up to it.

        hidden[b, t] = Σ_{s ≤ t} g[b, s]·x[b, s] / max(1, Σ_{s ≤ t} g[b, s])

    Words embed as zeros, and g is 1 where a real token's embedding is not all zeros: at graph tokens. So the state at
    a prompt's end is the mean of its projected user and item tokens, and all that is trained is projectors and head.
    States at placeholders, which are words, equal that one.

    Args:
        hidden_size: h.
        token_rms: root mean square the projected tokens start at.
        dtype: of the embeddings.
    """

    def __init__(self, hidden_size: int, token_rms: float, dtype: torch.dtype) -> None:
        self.hidden_size = hidden_size
        self.token_rms = token_rms
        self.tokenizer = byte_tokenizer()
        self.module: nn.Module = nn.Module()
        self._dtype = dtype

    def embed(self, token_ids: Tensor) -> Tensor:
        """Token ids [...], int64 -> zeros [..., hidden_size]."""
        return torch.zeros(*token_ids.shape, self.hidden_size, dtype=self._dtype, device=token_ids.device)

    def prefix(self, token_ids: Tensor) -> Seen:
        """No graph token among the words [P] every prompt starts with."""
        nothing = torch.zeros(1, 1, 1, device=token_ids.device)
        return Seen(nothing.expand(1, 1, self.hidden_size), nothing)

    def extend(self, prefix: Seen, inputs_embeds: Tensor, attention_mask: Tensor) -> Seen:
        """The prefix and the graph tokens of the embeddings [B, L, h], mask [B, L]; gradients flow through it."""
        tokens, counted = _graph_tokens(inputs_embeds, attention_mask)
        return Seen(
            prefix.total + tokens.sum(dim=1, keepdim=True),
            prefix.count + counted.sum(dim=1, keepdim=True),
        )

    def hidden(self, inputs_embeds: Tensor, attention_mask: Tensor, prefix: Seen | None = None) -> Tensor:
        """Embeddings [B, L, h] and mask [B, L], padded on either side -> means [B, L, h] in the dtype given."""
        tokens, counted = _graph_tokens(inputs_embeds, attention_mask)
        total, count = tokens.cumsum(dim=1), counted.cumsum(dim=1)
        if prefix is not None:
            total, count = prefix.total + total, prefix.count + count
        return (total / count.clamp(min=1)).to(inputs_embeds)

    def generate(self, prompts: Sequence[str], max_new_tokens: int) -> list[str]:
        """Raise `InputError`: there is nothing that writes."""
        raise InputError(
            "without a language model no words are generated",
            location="backbone.name",
            hint="leave the words out: --set interests.profile=false --set interests.prediction=false",
        )


def _graph_tokens(inputs_embeds: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
    """The embeddings [B, L, h] as float32, zeros at padding, and [B, L, 1], 1 at graph tokens and 0 elsewhere."""
    is_token = (inputs_embeds != 0).any(dim=-1, keepdim=True) & attention_mask[:, :, None].bool()
    return inputs_embeds.float() * is_token, is_token.float()


class NoLanguageModel:
    """The `none` backbone: projectors and head only.

    Items' texts and users' words mean nothing to it, so a recipe that selects it switches off what reads or writes
    words: `text.vectors`, `align.enabled`, `interests.profile`, `interests.prediction`.
    """

    def __init__(self, name: str, settings: BackboneSettings, options: NoneOptions) -> None:
        self.name = name
        self.settings = settings
        self.options = options

    def identity(self) -> str:
        return f"{self.name}:{fingerprint(self.options.model_dump())}"

    def architecture(self) -> Any:
        """A configuration without layers."""
        return PretrainedConfig(hidden_size=self.options.hidden_size, num_hidden_layers=0, vocab_size=VOCABULARY_SIZE)

    def load(self, device: torch.device, *, full_depth: bool = False) -> MeanOfTokens:
        """Raises `InputError` where the settings ask for an early exit or for adapters: there are no layers."""
        asked = {"layers": self.settings.layers if not full_depth else None, "lora": self.settings.lora}
        for key, value in asked.items():
            if value is not None:
                raise InputError(
                    "there is no language model, so it has no layers",
                    location=f"backbone.{key}",
                    hint=f"leave it out: --set backbone.{key}=null",
                )
        dtype = choose_dtype(self.settings.dtype, device)
        return MeanOfTokens(self.options.hidden_size, self.options.token_rms, dtype)
