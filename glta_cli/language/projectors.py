"""Projectors: graph embeddings to tokens of the language model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class TokenProjector(nn.Module):
    """One linear layer from what is known of a node to the language model's token-embedding space.

    V = E·W + b,  W [d, h]

    At initialisation its outputs have the root mean square of the model's own token embeddings: tokens of
    another scale would be drowned out, or drown the words around them. Where an embedding has several parts, such as
    a graph embedding and the vector of a text, each part gives its tokens as much variance as the others.

    Source: Yang et al., Graph-Language Token Alignment, WWW 2025 Companion, sections 3.1 and 3.2 (printed d × d
    there, which types only when d = h).

    Args:
        embeddings: [n, d], what will be projected; sets d and the scale.
        hidden_size: h.
        token_rms: root mean square of the model's token embeddings.
        parts: widths of the parts an embedding is made of, summing to d; none for one part.
    """

    def __init__(self, embeddings: Tensor, hidden_size: int, token_rms: float, parts: Sequence[int] = ()) -> None:
        super().__init__()
        self.linear = nn.Linear(embeddings.shape[1], hidden_size)
        nn.init.normal_(self.linear.weight, std=embeddings.shape[1] ** -0.5)
        nn.init.zeros_(self.linear.bias)
        with torch.no_grad():
            if parts:
                lengths = [part.square().sum(1).mean().sqrt() for part in embeddings.split(list(parts), dim=1)]
                for columns, length in zip(self.linear.weight.split(list(parts), dim=1), lengths, strict=True):
                    columns.div_(length.clamp(min=1e-12))
            output_rms = self.linear(embeddings).square().mean().sqrt()
            self.linear.weight.mul_(token_rms / output_rms.clamp(min=1e-12))

    def forward(self, embeddings: Tensor) -> Tensor:
        """[..., d] -> [..., h]."""
        tokens: Tensor = self.linear(embeddings)
        return tokens
