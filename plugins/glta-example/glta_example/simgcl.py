"""SimGCL: a contrast between noisy embeddings in place of one between augmented graphs."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glta_cli.plugin import InteractionGraph
from glta_example.settings import SimGCLSettings


class SimGCL(nn.Module):
    """Propagation as in LightGCN, and a loss that tells every node apart from the others in spite of noise.

    E_l = A E_{l-1} + ε · sign(A E_{l-1}) ⊙ u/|u|,  u ~ U(0, 1)^d;    E = 1/L · Σ_{l=1..L} E_l

    A is the symmetrically normalised adjacency. Recommendations come from E without noise; the contrast is between
    two draws of E with it.

    Source: Yu et al., Are Graph Augmentations Necessary? Simple Graph Contrastive Learning for Recommendation,
    SIGIR 2022, section 3.
    """

    def __init__(self, graph: InteractionGraph, settings: SimGCLSettings) -> None:
        super().__init__()
        self.graph = graph
        self.settings = settings
        self.embeddings = nn.Parameter(0.1 * torch.randn(graph.node_count, settings.dimension))  # E_0 [U+I, d]

    def forward(self) -> tuple[Tensor, Tensor]:
        """E without noise: users [U, d] and items [I, d]."""
        return self.view(noise=0.0)

    def view(self, noise: float) -> tuple[Tensor, Tensor]:
        """E with noise of length `noise` in every layer: users [U, d] and items [I, d]."""
        nodes: Tensor = self.embeddings
        layers = []
        for _ in range(self.settings.layers):
            nodes = self.graph.propagate(nodes)
            if noise:
                nodes = nodes + noise * nodes.sign() * F.normalize(torch.rand_like(nodes), dim=-1)
            layers.append(nodes)  # E_l [U+I, d], without E_0
        users, items = torch.stack(layers).mean(0).split([self.graph.user_count, self.graph.item_count])
        return users, items

    def extra_loss(self, users: Tensor, items: Tensor) -> Tensor:
        """λ · contrast of a batch's distinct users [B] and items [B] or [2, B] + μ/2 · |E_0 of the batch|² / B."""
        views = zip(self.view(self.settings.noise), self.view(self.settings.noise), (users, items), strict=True)
        contrast = sum(self.contrast(first, second, nodes.unique()) for first, second, nodes in views)
        batch = torch.cat([users, items.flatten() + self.graph.user_count])
        squares = F.embedding(batch, self.embeddings).square().sum()
        return self.settings.contrast * contrast + self.settings.regularization * 0.5 * squares / len(users)

    def contrast(self, first: Tensor, second: Tensor, nodes: Tensor) -> Tensor:
        """InfoNCE, mean over nodes n [M] of -log softmax_m(cos(first_n, second_m) / τ) at m = n; views are [N, d]."""
        nodes = nodes[torch.randperm(len(nodes), device=nodes.device)[: self.settings.contrasted]]
        cosines = F.normalize(first[nodes], dim=-1) @ F.normalize(second[nodes], dim=-1).T  # [M, M]
        return F.cross_entropy(cosines / self.settings.temperature, torch.arange(len(nodes), device=nodes.device))
