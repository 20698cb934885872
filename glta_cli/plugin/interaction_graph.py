"""The bipartite user-item graph and its propagation."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from glta_cli.plugin.interactions import Interactions


class InteractionGraph(nn.Module):
    """Users and items as nodes 0..U-1 and U..U+I-1, an edge for each interaction, both ways.

    The adjacency is normalised symmetrically: A[u, i] = 1 / sqrt(degree(u) · degree(i)).

    Source: He et al., LightGCN, SIGIR 2020, equation 3.

    Attributes:
        user_count: U.
        item_count: I.
        indptr, neighbours, weights: the rows of A: those of node n stand at `indptr[n]:indptr[n + 1]`; int32 [N],
            int32 [2E] and float32 [2E].
        data: the same graph as torch-geometric's `HeteroData`, for encoders built on its layers, on the same device:
            `data["user", "interacts", "item"].edge_index` is int64 [2, E] of user and item indices, and
            `data["item", "rev_interacts", "user"].edge_index` its reverse.
    """

    indptr: Tensor
    neighbours: Tensor
    weights: Tensor

    def __init__(self, interactions: Interactions) -> None:
        super().__init__()
        self.user_count = interactions.user_count
        self.item_count = interactions.item_count
        users = torch.from_numpy(interactions.users)  # [E]
        items = torch.from_numpy(interactions.items.astype("int64"))  # [E]
        self.data = _hetero_data(users, items, self.user_count, self.item_count)

        source = torch.cat([users, items + self.user_count])  # [2E]
        target = torch.cat([items + self.user_count, users])
        degree = torch.bincount(source, minlength=self.node_count)  # [N]
        order = torch.argsort(source, stable=True)
        normaliser = degree.clamp(min=1).to(torch.float32).rsqrt()
        indptr = F.pad(degree.cumsum(0), (1, 0))[:-1]  # where each node's neighbours start
        # The graph follows from the data, so none of it belongs to an encoder's saved state.
        self.register_buffer("indptr", indptr.to(torch.int32), persistent=False)
        self.register_buffer("neighbours", target[order].to(torch.int32), persistent=False)
        weights = normaliser[source[order]] * normaliser[target[order]]
        self.register_buffer("weights", weights, persistent=False)

    @property
    def node_count(self) -> int:
        return self.user_count + self.item_count

    def _apply(self, fn: Any, recurse: bool = True) -> InteractionGraph:
        # `data` is no module, so `.to(device)` would leave it behind.
        self.data = self.data.apply(fn)
        super()._apply(fn, recurse)
        return self

    def propagate(self, nodes: Tensor, weights: Tensor | None = None) -> Tensor:
        """A·nodes: [N, d] -> [N, d], differentiable.

        Args:
            weights: of the edges in place of the graph's own, such as some of them dropped; float32 [2E], the same
                both ways. They get no gradient.
        """
        product: Tensor = _Propagation.apply(nodes, self, self.weights if weights is None else weights)
        return product

    def layer_mean(self, nodes: Tensor, layers: int) -> Tensor:
        """Mean of nodes, A·nodes, ..., A^layers·nodes: [N, d] -> [N, d], differentiable.

        Source: LightGCN, equation 4 with uniform layer weights.
        """
        mean: Tensor = _LayerMean.apply(nodes, self, layers)
        return mean


class _Propagation(torch.autograd.Function):
    """A·nodes."""

    @staticmethod
    def forward(ctx: Any, nodes: Tensor, graph: InteractionGraph, weights: Tensor) -> Tensor:
        ctx.graph, ctx.weights = graph, weights
        return _product(nodes, graph, weights)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        # A is symmetric: its transpose is itself. The backward pass torch has for a bag is many times slower.
        return _product(gradients[0].contiguous(), ctx.graph, ctx.weights), None, None


class _LayerMean(torch.autograd.Function):
    """The polynomial of A behind `layer_mean`."""

    @staticmethod
    def forward(ctx: Any, nodes: Tensor, graph: InteractionGraph, layers: int) -> Tensor:
        ctx.graph, ctx.layers = graph, layers
        return _polynomial(nodes, graph, layers)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        # A polynomial of a symmetric matrix is symmetric: the backward pass is the forward pass of the gradient.
        return _polynomial(gradients[0].contiguous(), ctx.graph, ctx.layers), None, None


def _polynomial(nodes: Tensor, graph: InteractionGraph, layers: int) -> Tensor:
    """By Horner's rule, as a running mean: M_l = (x + l · A M_{l-1}) / (l + 1), M_0 = x."""
    mean = nodes
    for layer in range(1, layers + 1):
        # In place: an interpolation is cheap, a fresh [N, d] from the operating system is not.
        mean = _product(mean, graph, graph.weights).lerp_(nodes, 1 / (layer + 1))
    return mean


def _product(nodes: Tensor, graph: InteractionGraph, weights: Tensor) -> Tensor:
    return F.embedding_bag(graph.neighbours, nodes, graph.indptr, mode="sum", per_sample_weights=weights)


def _hetero_data(users: Tensor, items: Tensor, user_count: int, item_count: int) -> HeteroData:
    data = HeteroData()
    data["user"].num_nodes = user_count
    data["item"].num_nodes = item_count
    data["user", "interacts", "item"].edge_index = torch.stack([users, items])  # [2, E]
    data["item", "rev_interacts", "user"].edge_index = torch.stack([items, users])
    return data
