"""The squared embeddings of a batch, as LightGCN's regulariser has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from glta_cli.plugin import InteractionGraph

# Rows of a gradient at once: 16 MiB at 64 dimensions.
BLOCK_ROWS = 1 << 16


def halved_squares(embeddings: Tensor, graph: InteractionGraph, users: Tensor, items: Tensor) -> Tensor:
    """½ · (|E_0[users]|² + |E_0[items]|²) / B of embeddings E_0 [U+I, d]; users [B], items [B] or [2, B]."""
    nodes = torch.cat([users, items.flatten() + graph.user_count])
    squares: Tensor = _SumOfSquares.apply(embeddings, nodes)
    return 0.5 * squares / len(users)


class _SumOfSquares(torch.autograd.Function):
    """Σ |E[n]|² over nodes n, some of them many times: E [N, d], nodes [M] -> a scalar.

    Beside one [M, d] in the forward pass, nothing is kept of the rows. The gradient, m[n] · 2 E[n] for a node that is
    there m[n] times, has as many rows as there are distinct nodes: it is sparse, and autograd adds it to the dense one
    of what else is made of E. A table with zeros everywhere else would lie in memory all the while that one is made.
    """

    @staticmethod
    def forward(ctx: Any, embeddings: Tensor, nodes: Tensor) -> Tensor:
        ctx.save_for_backward(embeddings, nodes)
        return F.embedding(nodes, embeddings).square_().sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        embeddings, nodes = ctx.saved_tensors
        distinct, places, times = torch.unique(nodes, return_inverse=True, return_counts=True)  # [n], [M], [n]
        slopes = F.embedding(distinct, embeddings).mul_(2).mul_(gradients[0])  # [n, d]
        places = places.sort().values  # a node beside itself, and each block of nodes a block of places
        for own, first, last in _blocks(times):
            # Summed one after the other, as they come: m · slope would be rounded otherwise.
            repeated = F.embedding(places[first:last], slopes)
            slopes[own] = torch.ops.aten.embedding_dense_backward(
                repeated, places[first:last] - own.start, own.stop - own.start, -1, False
            )
        shape = embeddings.shape
        return torch.sparse_coo_tensor(distinct[None], slopes, shape, is_coalesced=True, check_invariants=False), None


def _blocks(times: Tensor) -> Iterator[tuple[slice, int, int]]:
    """Nodes [n] that are there `BLOCK_ROWS` times together, or one that alone is: which, and their places."""
    ends = times.cumsum(0)
    start = before = 0
    while start < len(times):
        stop = max(start + 1, int(torch.searchsorted(ends, before + BLOCK_ROWS, right=True)))
        last = int(ends[stop - 1])
        yield slice(start, stop), before, last
        start, before = stop, last
