"""HCCF."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glta_cli.plugin import InteractionGraph
from glta_encoders.contrast import info_nce, some_of
from glta_encoders.lightgcn import initial_embeddings
from glta_encoders.settings import HCCFSettings
from glta_encoders.squares import halved_squares


class HCCF(nn.Module):
    """Propagation along edges and through learnt hyperedges, and a contrast between what either says of a node.

    Z_l = σ(A E_{l-1})                                local: the neighbours, A the normalised adjacency
    Γ_l = σ(H Hᵀ E_{l-1}) within users and items      global: K hyperedges of each side, H = E_0 W, W [d, K]
    E_l = Z_l + Γ_l + E_{l-1},   E = Σ_{l=0..L} E_l,   σ a LeakyReLU

    The loss adds λ · Σ_l Σ_sides InfoNCE(Z_l, Γ_l), of at most `contrasted` distinct users and items of a batch. In
    training a share of the edges and of the entries of H is dropped, drawn once for all layers.

    Where it differs from the original: the columns of H have unit length, so that messages through hyperedges are as
    long on any number of nodes; and the further mapping between hyperedges (section 3.2.3) is left out, as it is in
    the authors' own torch code.

    Source: Xia et al., Hypergraph Contrastive Collaborative Filtering, SIGIR 2022, section 3.
    """

    reverse: Tensor

    def __init__(self, graph: InteractionGraph, settings: HCCFSettings) -> None:
        super().__init__()
        self.graph = graph
        self.settings = settings
        self.embeddings = nn.Parameter(initial_embeddings(graph, settings))  # E_0 [U+I, d]
        shape = (2, settings.dimension, settings.hyperedges)
        self.hyperedges = nn.Parameter(torch.randn(shape) / math.sqrt(settings.dimension))  # W of users, of items
        # The rows of A hold every edge twice, first by user and then by item: where the second half finds the first.
        reverse = torch.argsort(graph.neighbours[: len(graph.neighbours) // 2], stable=True)
        self.register_buffer("reverse", reverse, persistent=False)
        # Of the last forward(), so that extra_loss need not propagate again: Z_l and Γ_l [U+I, d], a pair a layer.
        self.views: list[tuple[Tensor, Tensor]] = []

    def forward(self) -> tuple[Tensor, Tensor]:
        """E split into users [U, d] and items [I, d]."""
        weights = self.edge_weights()
        members = [
            F.dropout(F.normalize(nodes @ hyperedges, dim=0), self.settings.dropout, self.training)  # H [n, K]
            for nodes, hyperedges in zip(self.sides(self.embeddings), self.hyperedges, strict=True)
        ]
        nodes: Tensor = self.embeddings
        total = nodes
        self.views = []
        for _ in range(self.settings.layers):
            near = self.activated(self.graph.propagate(nodes, weights))
            far = self.activated(
                torch.cat([h @ (h.T @ side) for h, side in zip(members, self.sides(nodes), strict=True)])
            )
            self.views.append((near, far))
            nodes = near + far + nodes
            total = total + nodes
        return self.sides(total)

    def edge_weights(self) -> Tensor:
        """Those of A, [2E]; in training some are zero, the same both ways, and the others larger by as much."""
        if not self.training or not self.settings.dropout:
            return self.graph.weights
        kept = F.dropout(self.graph.weights[: len(self.reverse)], self.settings.dropout)
        return torch.cat([kept, kept[self.reverse]])

    def activated(self, nodes: Tensor) -> Tensor:
        return F.leaky_relu(nodes, self.settings.slope)

    def sides(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Nodes [U+I, d] as users [U, d] and items [I, d]."""
        users, items = nodes.split([self.graph.user_count, self.graph.item_count])
        return users, items

    def extra_loss(self, users: Tensor, items: Tensor) -> Tensor:
        """λ · contrast of the two views + μ/2 · |E_0|² of a batch of users [B] and items [B] or [2, B]."""
        if not self.views:
            self.forward()
        most = self.settings.contrasted
        chosen = (some_of(users, most), some_of(items, most) + self.graph.user_count)
        contrast = torch.stack(
            [
                info_nce(F.embedding(nodes, near), F.embedding(nodes, far), self.settings.temperature)
                for near, far in self.views
                for nodes in chosen
            ]
        ).sum()
        squares = halved_squares(self.embeddings, self.graph, users, items)
        return self.settings.contrast * contrast + self.settings.regularization * squares
