"""What is made of a large table row by row, taken some rows at a time, so that nothing else of its size is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Numbers of a table that are worked on at once: 16 MiB of float32.
BLOCK = 1 << 22

RowByRow = Callable[[Tensor], Tensor]


def by_row_blocks(function: RowByRow, table: Tensor) -> Tensor:
    """`function(table)`, of rows [n, D] -> [n, D] that have nothing to do with each other, with the same gradient.

    Beside the result and the gradient it needs a few blocks of memory: what stands between them is computed again on
    the way back.
    """
    if table.numel() <= BLOCK:
        return function(table)
    found: Tensor = _ByRowBlocks.apply(function, table)
    return found


class _ByRowBlocks(torch.autograd.Function):
    """Checkpointing by blocks of rows (Chen et al., arXiv 1604.06174)."""

    @staticmethod
    def forward(ctx: Any, function: RowByRow, table: Tensor) -> Tensor:
        ctx.function = function
        ctx.save_for_backward(table)
        found = torch.empty_like(table)
        for part in _blocks(table):
            found[part] = function(table[part])
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        [table] = ctx.saved_tensors
        to_table = torch.empty_like(table)
        for part in _blocks(table):
            rows = table[part].detach().requires_grad_()
            with torch.enable_grad():
                found = ctx.function(rows)
            [to_table[part]] = torch.autograd.grad(found, rows, gradients[0][part])
        return None, to_table


def _blocks(table: Tensor) -> Iterator[slice]:
    size = max(1, BLOCK // max(1, table.shape[1]))
    return (slice(start, start + size) for start in range(0, len(table), size))
