"""What a softmax over a sample is made of, with gradients that take little more memory than it does."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# Pairs at once: 16 MiB of vectors at 64 dimensions.
BLOCK_PAIRS = 1 << 16


def pair_products(queries: Tensor, items: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """<queries[rows[p]], items[columns[p]]> of queries [B, D] and items [n, D], for pairs [P] of places: [P].

    In the wider numbers of both, as a product of theirs would be.
    """
    wider = torch.promote_types(queries.dtype, items.dtype)
    products: Tensor = _PairProducts.apply(queries.to(wider), items.to(wider), rows, columns)
    return products


class _PairProducts(torch.autograd.Function):
    """A block of pairs after the other, either way: of a batch's pairs there is no table [P, D]."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, items: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        ctx.save_for_backward(queries, items, rows, columns)
        products = queries.new_empty(len(rows))
        for start in range(0, len(rows), BLOCK_PAIRS):
            part = slice(start, start + BLOCK_PAIRS)
            products[part] = F.embedding(rows[part], queries).mul_(F.embedding(columns[part], items)).sum(-1)
        return products

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        queries, items, rows, columns = ctx.saved_tensors
        to_queries, to_items = torch.zeros_like(queries), torch.zeros_like(items)
        for start in range(0, len(rows), BLOCK_PAIRS):
            part = slice(start, start + BLOCK_PAIRS)
            slopes = gradients[0][part, None]  # [p, 1]
            _add_rows(to_queries, rows[part], F.embedding(columns[part], items).mul_(slopes))
            _add_rows(to_items, columns[part], F.embedding(rows[part], queries).mul_(slopes))
        return to_queries, to_items, None, None


def _add_rows(table: Tensor, places: Tensor, rows: Tensor) -> None:
    """Add rows [p, D] to those at `places` [p] of a table, one after the other: a sum is rounded the same each time."""
    if table.device.type == "cpu":
        table.index_add_(0, places, rows)
    else:
        table.index_put_((places,), rows, accumulate=True)


def exponential_sums(logits: Tensor, largest: Tensor) -> Tensor:
    """Σ_j exp(logits[b, j] - largest[b]) of logits [B, S]: [B].

    The exponentials take the place of the logits, and on the way back their gradient that of the exponentials.
    """
    sums: Tensor = _ExponentialSums.apply(logits, largest)
    return sums


class _ExponentialSums(torch.autograd.Function):
    """Of -inf, a logit that is left out, the exponential is 0 and so is the gradient."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, largest: Tensor) -> Tensor:
        ctx.exponentials = logits.detach().sub_(largest[:, None]).exp_()
        sums: Tensor = ctx.exponentials.sum(1)
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        exponentials, ctx.exponentials = ctx.exponentials, None
        if exponentials is None:
            raise RuntimeError("the gradient of a sampled softmax was already taken, and its exponentials are gone")
        return exponentials.mul_(gradients[0][:, None]), None
