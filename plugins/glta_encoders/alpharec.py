"""AlphaRec."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from glta_cli.plugin import InteractionGraph
from glta_encoders.settings import AlphaRecSettings
from glta_encoders.text_contrast import two_layers, user_means


class AlphaRec(nn.Module):
    """Item texts and the graph, and no free embedding of any node: what is trained is how texts are projected.

    E_0[i] = f(t_i),  E_0[u] = mean_{i in X[u]} f(t_i),  E = 1/(L+1) · Σ_{l=0..L} A^l E_0

    X[u] are the user's items in this graph, t the text vectors [I, D], A the symmetrically normalised adjacency and f
    linear, W t with W [d, D], or an MLP with one hidden layer. An item nobody met has an embedding like any other.

    Source: Sheng et al., Language Representations Can be What Recommenders Need: Findings and Potentials, ICLR 2025,
    section 3; the MLP is theirs, and their loss is the softmax.
    """

    needs_text_vectors = True
    texts: Tensor

    def __init__(self, graph: InteractionGraph, settings: AlphaRecSettings, text_vectors: Tensor) -> None:
        """`text_vectors` are float32 [I, D]."""
        super().__init__()
        self.graph = graph
        self.settings = settings
        self.register_buffer("texts", text_vectors, persistent=False)
        width = text_vectors.shape[1]
        self.projection: nn.Module = (
            nn.Linear(width, settings.dimension, bias=False)
            if settings.projection == "linear"
            else two_layers(width, settings.dimension)
        )

    def forward(self) -> tuple[Tensor, Tensor]:
        """E split into users [U, d] and items [I, d]."""
        items = self.projection(self.texts)
        nodes = torch.cat([user_means(self.graph, items), items])
        return self.graph.layer_mean_of_sides(nodes, self.settings.layers)

    def extra_loss(self, users: Tensor, items: Tensor) -> Tensor:
        """Zero: the recommendation loss is all there is."""
        return self.texts.new_zeros(())
