"""Projectors: graph embeddings to tokens of the language model."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class TokenProjector(nn.Module):
    """One linear layer from an embedding to the language model's token-embedding space.

    V = E·W + b,  W [d, h]

    At initialisation its outputs have the root mean square of the model's own token embeddings: tokens of
    another scale would be drowned out, or drown the words around them.

    Source: Yang et al., Graph-Language Token Alignment, WWW 2025 Companion, sections 3.1 and 3.2 (printed d × d
    there, which types only when d = h).

    Args:
        embeddings: [n, d], what will be projected; sets d and the scale.
        hidden_size: h.
        token_rms: root mean square of the model's token embeddings.
    """

    def __init__(self, embeddings: Tensor, hidden_size: int, token_rms: float) -> None:
        super().__init__()
        self.linear = nn.Linear(embeddings.shape[1], hidden_size)
        nn.init.normal_(self.linear.weight, std=embeddings.shape[1] ** -0.5)
        nn.init.zeros_(self.linear.bias)
        with torch.no_grad():
            output_rms = self.linear(embeddings).square().mean().sqrt()
            self.linear.weight.mul_(token_rms / output_rms.clamp(min=1e-12))

    def forward(self, embeddings: Tensor) -> Tensor:
        """[..., d] -> [..., h]."""
        tokens: Tensor = self.linear(embeddings)
        return tokens
