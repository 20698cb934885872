"""LightGCN."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glta_cli.plugin import InteractionGraph, NodeSample
from glta_encoders.settings import LightGCNSettings
from glta_encoders.spectral import singular_vectors
from glta_encoders.squares import halved_squares

# A row of singular vectors is shorter only where the node has no edge; rounding leaves it this long.
NO_LENGTH = 1e-6


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
        self.embeddings = nn.Parameter(initial_embeddings(graph, settings))  # E_0 [U+I, d]

    def forward(self) -> tuple[Tensor, Tensor]:
        """E split into users [U, d] and items [I, d]."""
        return self.propagated(self.embeddings)

    def propagated(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """E of other layer-0 embeddings [U+I, d]: users [U, d] and items [I, d]."""
        return self.graph.layer_mean_of_sides(nodes, self.settings.layers)

    def sampled_hops(self) -> int | None:
        """How often a sample of the graph is propagated."""
        return self.settings.layers

    def of_sample(self, sample: NodeSample) -> Tensor:
        """E of the wanted nodes of a sample: [wanted, d]."""
        found = sample.layer_mean(F.embedding(sample.nodes, self.embeddings), self.settings.layers)
        return found[: sample.wanted]

    def extra_loss(self, users: Tensor, items: Tensor) -> Tensor:
        """λ/2 · (|E_0[users]|² + |E_0[items]|²) / B, over the batch only: LightGCN's regulariser.

        Args:
            users: [B].
            items: [B], or [2, B] where each user has a positive and a negative.
        """
        return self.settings.regularization * halved_squares(self.embeddings, self.graph, users, items)


def initial_embeddings(graph: InteractionGraph, settings: LightGCNSettings) -> Tensor:
    """Free embeddings of all nodes, [U+I, d], where the settings have them start; drawn from torch's own generator."""
    nodes = torch.randn(graph.node_count, settings.dimension) * settings.initial_scale
    if settings.start == "spectral":
        start_at_singular_vectors(nodes, graph, settings.initial_scale)
    return nodes


def start_at_singular_vectors(nodes: Tensor, graph: InteractionGraph, scale: float) -> None:
    """Replace embeddings [U+I, d] by the nodes' rows of the k <= d leading singular vectors, of length scale·√k each.

    The rows' own lengths say how many neighbours a node has; their directions say which. Nodes without an edge, and
    the columns from k on where the matrix's rank k is below d, keep what they have.

    Source: Shen et al., How Powerful is Graph Convolution for Recommendation?, CIKM 2021 (GF-CF): the leading
    singular vectors are the low-pass filter that training approaches.
    """
    vectors = singular_vectors(graph, nodes.shape[1])
    rows = torch.cat([vectors.users, vectors.items])  # [U+I, k]
    lengths = rows.norm(dim=1)
    found = lengths > NO_LENGTH
    rank = rows.shape[1]
    nodes[found, :rank] = rows[found] * (scale * math.sqrt(rank) / lengths[found])[:, None]
