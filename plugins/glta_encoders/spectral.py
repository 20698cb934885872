"""The leading singular vectors of the normalised interaction matrix."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from glta_cli.plugin import InteractionGraph

# Columns beyond those asked for, and passes over the edges: the error of the range finder falls with both.
OVERSAMPLING = 16
PASSES = 4
# Of the largest singular value: what float32 leaves of a value that is zero is well below it.
NEGLIGIBLE = 1e-5


@dataclass(frozen=True)
class SingularVectors:
    """users · diag(values) · itemsᵀ approximates the matrix best: [U, k], [k] descending, [I, k]."""

    users: Tensor
    values: Tensor
    items: Tensor


def singular_vectors(graph: InteractionGraph, rank: int) -> SingularVectors:
    """Of R[u, i] = 1 / sqrt(degree(u) · degree(i)), at most `rank` of them; drawn from torch's own generator.

    Where R has a lower rank there are no more than that: vectors of the value zero say nothing about R.

    Source: Halko, Martinsson and Tropp, Finding structure with randomness, SIAM Review 2011, algorithms 4.4, 5.1.
    """
    columns = min(rank + OVERSAMPLING, graph.user_count, graph.item_count)
    basis = torch.linalg.qr(torch.randn(graph.item_count, columns, device=graph.weights.device))[0]
    for _ in range(PASSES):
        basis = torch.linalg.qr(graph.to_items(graph.to_users(basis)))[0]
    left, values, right = torch.linalg.svd(graph.to_users(basis), full_matrices=False)
    kept = int((values[:rank] > NEGLIGIBLE * values[:1]).sum())
    return SingularVectors(left[:, :kept], values[:kept], (basis @ right.T)[:, :kept])
