"""A Hugging Face encoder behind the `SentenceEncoder` protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class MeanPooledEncoder:
    """An encoder whose sentence vector is the mean of its last states, [CLS] and [SEP] included, at unit length.

    All weights are frozen. `module` starts in evaluation mode.

    Args:
        model: a `transformers.PreTrainedModel` without a head.
        tokenizer: its tokenizer.
        most_tokens: longest text it reads, special tokens included.

    Source: Reimers and Gurevych, Sentence-BERT, EMNLP 2019, section 3, MEAN strategy.
    """

    def __init__(self, model: Any, tokenizer: Any, most_tokens: int) -> None:
        self.tokenizer = tokenizer
        self.hidden_size: int = model.config.hidden_size
        self.module: torch.nn.Module = model.requires_grad_(False).eval()
        self._most_tokens = most_tokens

    def token_ids(self, texts: Sequence[str], most: int) -> list[list[int]]:
        """Ids of each text between [CLS] and [SEP], cut to `most` with these two, and to what the model reads."""
        longest = min(most, self._most_tokens)
        ids: list[list[int]] = self.tokenizer(list(texts), truncation=True, max_length=longest)["input_ids"]
        return ids

    def sentence_vectors(self, token_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Ids [B, L] and mask [B, L], 1 = real, padding on the right -> vectors of unit length [B, h], float32."""
        states = self.module(input_ids=token_ids, attention_mask=attention_mask).last_hidden_state.float()  # [B, L, h]
        weights = attention_mask[:, :, None].float()
        means = (states * weights).sum(1) / weights.sum(1)
        return torch.nn.functional.normalize(means, dim=1)
