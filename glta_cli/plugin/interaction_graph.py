"""The bipartite user-item graph and its propagation."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from glta_cli.plugin.adjacency import (
    Edges,
    edges_of,
    in_blocks,
    polynomial,
    polynomial_of_sides,
    product,
    products,
)
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.kept_tables import KeptTables

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


class InteractionGraph(nn.Module):
    """Users and items as nodes 0..U-1 and U..U+I-1, an edge for each interaction, both ways.

    The adjacency is normalised symmetrically: A[u, i] = 1 / sqrt(degree(u) · degree(i)).

    Source: He et al., LightGCN, SIGIR 2020, equation 3.

    Args:
        folder: on whose disk the edges are kept and mapped from, so that they leave memory when it is needed for
            something else; None keeps them in memory. What is computed of them is the same, bit for bit.

    Attributes:
        user_count: U.
        item_count: I.
        indptr, neighbours, weights: the rows of A: those of node n stand at `indptr[n]:indptr[n + 1]`; int32 [N],
            int32 [2E] and float32 [2E].
    """

    indptr: Tensor
    neighbours: Tensor
    weights: Tensor

    def __init__(self, interactions: Interactions, folder: Path | None = None) -> None:
        super().__init__()
        self.user_count = interactions.user_count
        self.item_count = interactions.item_count
        edges = edges_of(interactions, folder)
        # The graph follows from the data, so none of it belongs to an encoder's saved state.
        self.register_buffer("indptr", edges.indptr, persistent=False)
        self.register_buffer("neighbours", edges.neighbours, persistent=False)
        self.register_buffer("weights", edges.weights, persistent=False)
        self._file = edges.file
        self._tables = KeptTables()
        self._data: HeteroData | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> InteractionGraph:
        if self._file is not None:
            # What is mapped from a disk may be more than memory holds: a copy, such as a teacher's, reads the same.
            memo |= {id(edges): edges for edges in (self.neighbours, self.weights)}
        copied = self.__class__.__new__(self.__class__)
        memo[id(self)] = copied
        copied.__dict__ = deepcopy(self.__dict__, memo)
        return copied

    @property
    def node_count(self) -> int:
        return self.user_count + self.item_count

    @property
    def data(self) -> HeteroData:
        """The same graph as torch-geometric's, for encoders built on its layers, on the same device.

        `data["user", "interacts", "item"].edge_index` is int64 [2, E] of user and item indices, and
        `data["item", "rev_interacts", "user"].edge_index` its reverse. It takes twice the memory of the graph
        itself, so it is made for whoever asks first.
        """
        if self._data is None:
            self._data = self._hetero_data()
        return self._data

    def _hetero_data(self) -> HeteroData:
        from torch_geometric.data import HeteroData

        edge_count = len(self.neighbours) // 2
        degrees = self.degrees[: self.user_count]
        nodes = torch.arange(self.user_count, device=degrees.device)
        users = torch.repeat_interleave(nodes, degrees, output_size=edge_count)  # [E]
        items = self.neighbours[:edge_count].long() - self.user_count
        data = HeteroData()
        data["user"].num_nodes = self.user_count
        data["item"].num_nodes = self.item_count
        data["user", "interacts", "item"].edge_index = torch.stack([users, items])  # [2, E]
        data["item", "rev_interacts", "user"].edge_index = torch.stack([items, users])
        return data

    def _apply(self, fn: Any, recurse: bool = True) -> InteractionGraph:
        # `data` is no module, so `.to(device)` would leave it behind.
        if self._data is not None:
            self._data = self._data.apply(fn)
        super()._apply(fn, recurse)
        return self

    def train(self, mode: bool = True) -> InteractionGraph:
        # Between steps there is memory for the next one; who is done with training gives it back.
        self._tables.keeping = mode
        super().train(mode)
        return self

    @property
    def degrees(self) -> Tensor:
        """How many neighbours each node has, int32 [N]."""
        ends = torch.cat([self.indptr[1:], self.indptr.new_tensor([len(self.neighbours)])])
        return ends - self.indptr

    def propagate(self, nodes: Tensor, weights: Tensor | None = None) -> Tensor:
        """A·nodes: [N, d] -> [N, d], differentiable.

        Args:
            weights: of the edges in place of the graph's own, such as some of them dropped; float32 [2E], the same
                both ways. They get no gradient.
        """
        result: Tensor = _Propagation.apply(nodes, self._edges(weights))
        return result

    def layer_mean(self, nodes: Tensor, layers: int) -> Tensor:
        """Mean of nodes, A·nodes, ..., A^layers·nodes: [N, d] -> [N, d], differentiable.

        Source: LightGCN, equation 4 with uniform layer weights.
        """
        mean: Tensor = _LayerMean.apply(nodes, self._edges(), layers, self.user_count)
        return mean

    def layer_mean_of_sides(self, nodes: Tensor, layers: int) -> tuple[Tensor, Tensor]:
        """`layer_mean`, of users [U, d] and items [I, d]: the gradients of both are never put together in a table."""
        if layers == 0:
            users, items = nodes.split([self.user_count, self.item_count])
        else:
            users, items = _SideMeans.apply(nodes, self._edges(), layers, self.user_count, self._tables)
        return users, items

    def to_users(self, items: Tensor) -> Tensor:
        """What A makes of items for users: R·items, R the block [U, I] of A; [I, k] -> [U, k], without a gradient."""
        return self._side(items, 0, self.user_count, first_column=self.user_count)

    def to_items(self, users: Tensor) -> Tensor:
        """What A makes of users for items: Rᵀ·users, R the block [U, I] of A; [U, k] -> [I, k], without a gradient."""
        return self._side(users, self.user_count, self.node_count, first_column=0)

    def _side(self, table: Tensor, start: int, end: int, *, first_column: int) -> Tensor:
        result = table.new_empty(end - start, table.shape[1])
        # What LAPACK gives lies column by column, which would be added up in another order, and slowly.
        table = table.contiguous()
        with torch.no_grad():
            for rows, block in products(self._edges(), table, start, end, first_column=first_column):
                result[rows.start - start : rows.stop - start] = block
        return result

    def _edges(self, weights: Tensor | None = None) -> Edges:
        return Edges(self.indptr, self.neighbours, self.weights if weights is None else weights, self._file)


class _Propagation(torch.autograd.Function):
    """A·nodes."""

    @staticmethod
    def forward(ctx: Any, nodes: Tensor, edges: Edges) -> Tensor:
        ctx.edges = edges
        return product(edges, nodes)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        # A is symmetric: its transpose is itself. The backward pass torch has for a bag is many times slower.
        return _Propagation.apply(gradients[0].contiguous(), ctx.edges), None


class _LayerMean(torch.autograd.Function):
    """The polynomial of A behind `layer_mean`."""

    @staticmethod
    def forward(ctx: Any, nodes: Tensor, edges: Edges, layers: int, user_count: int) -> Tensor:
        ctx.edges, ctx.layers, ctx.user_count = edges, layers, user_count
        return polynomial(edges, nodes, layers, user_count)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        # A polynomial of a symmetric matrix is symmetric: the backward pass is the forward pass of the gradient.
        result = _LayerMean.apply(gradients[0].contiguous(), ctx.edges, ctx.layers, ctx.user_count)
        return result, None, None, None


class _SideMeans(torch.autograd.Function):
    """The same polynomial of A, its result and the gradient of that as users and items."""

    @staticmethod
    def forward(
        ctx: Any, nodes: Tensor, edges: Edges, layers: int, user_count: int, tables: KeptTables
    ) -> tuple[Tensor, ...]:
        ctx.edges, ctx.layers, ctx.tables = edges, layers, tables
        counts = [user_count, len(nodes) - user_count]
        if not in_blocks(edges, nodes):
            return polynomial(edges, nodes, layers, user_count).split(counts)
        means = _empty(tables, nodes, *nodes.shape).split(counts)
        polynomial_of_sides(edges, nodes.split(counts), layers, means)
        return means

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        sides = [gradient.contiguous() for gradient in gradients]
        counts = [len(side) for side in sides]
        if torch.is_grad_enabled():  # this gradient will have one too
            result = _LayerMean.apply(torch.cat(sides), ctx.edges, ctx.layers, counts[0])
        elif in_blocks(ctx.edges, sides[0]):
            result = _empty(ctx.tables, sides[0], sum(counts), sides[0].shape[1])
            polynomial_of_sides(ctx.edges, sides, ctx.layers, result.split(counts))
        else:
            result = polynomial(ctx.edges, torch.cat(sides), ctx.layers, counts[0])
        return result, None, None, None, None


def _empty(tables: KeptTables, like: Tensor, *shape: int) -> Tensor:
    return tables.empty(*shape) if like.dtype == torch.float32 else like.new_empty(shape)
