"""LightGCN."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from glta_cli.graph.interaction_graph import InteractionGraph
from glta_encoders.settings import LightGCNSettings


class LightGCN(nn.Module):
    """Embeddings that are averaged with those of their neighbourhoods, and nothing else.

    E = 1/(L+1) · Σ_{l=0..L} A^l E_0,  A the symmetrically normalised adjacency.

    Source: He et al., LightGCN: Simplifying and Powering Graph Convolution Network for Recommendation,
    SIGIR 2020, equations 3 and 4.
    """

    def __init__(self, graph: InteractionGraph, settings: LightGCNSettings) -> None:
        super().__init__()
        self.graph = graph
        self.settings = settings
        self.embeddings = nn.Parameter(torch.empty(graph.node_count, settings.dimension))  # E_0 [U+I, d]
        nn.init.normal_(self.embeddings, std=settings.initial_scale)

    def forward(self) -> tuple[Tensor, Tensor]:
        """E split into users [U, d] and items [I, d]."""
        nodes = self.graph.layer_mean(self.embeddings, self.settings.layers)
        users, items = nodes.split([self.graph.user_count, self.graph.item_count])
        return users, items

    def extra_loss(self, users: Tensor, items: Tensor) -> Tensor:
        """λ/2 · (|E_0[users]|² + |E_0[items]|²) / B, over the batch only: LightGCN's regulariser.

        Args:
            users: [B].
            items: [B], or [2, B] where each user has a positive and a negative.
        """
        squares = self.embeddings[users].square().sum() + self.embeddings[items + self.graph.user_count].square().sum()
        return self.settings.regularization * 0.5 * squares / len(users)
