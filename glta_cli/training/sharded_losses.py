"""The softmax over a catalogue whose items are spread over the processes of a group: exact, as on one device.

Process r of W holds the items of its shard and has B_r queries of its own, as in data-parallel training:

    Q = [Q_1; ...; Q_W]                              all-gather of the queries [B, D]
    m[b] = max over r of max_{j in r} z[b, j]        all-reduce of row maxima
    S[b] = Σ_r Σ_{j in r} exp(z[b, j] - m[b])        all-reduce of sums of exponentials
    loss = mean over all (b, i) of w[b, i] (m[b] + log S[b] - z[b, i])

    ∂loss/∂items_r = Σ_b ∂loss/∂z[b, r] Q[b]         whole on r, which has met every query
    ∂loss/∂Q_r = Σ_s (Σ_{j in s} ∂loss/∂z[., j] items_s[j])[rows of r]     reduce-scatter

The logits are streamed by `CHUNK_LOGITS` as on one device: a chunk holds rows of this shard's logits, never [B, I].
So each process computes [B, I / W] logits where data-parallel training alone computes [B / W, I]: the work is the same,
but the items, their gradient and the optimizer's moments of them are divided by W.

Source: Shoeybi et al., Megatron-LM, arXiv 1909.08053, section 3 (the cross-entropy of a vocabulary in parts); the
streaming is that of `glta_cli.training.losses`.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from glta_cli.training.losses import Positives, streamed_cross_entropy


def shard_bounds(item_count: int, rank: int, size: int) -> tuple[int, int]:
    """Where the shard of process `rank` of `size` starts and stops; shards differ by one item at most."""
    return rank * item_count // size, (rank + 1) * item_count // size


def sharded_softmax_loss(
    queries: Tensor,
    items: Tensor,
    positives: Positives,
    *,
    start: int,
    group: dist.ProcessGroup,
    bias: Tensor | None = None,
    excluded: Positives | None = None,
    among: Tensor | None = None,
) -> Tensor:
    """`catalogue_softmax_loss` of the queries of all processes against the items of all processes.

    Every process of the group calls it together, and calls backward on it with the same factor. The loss is the same
    number everywhere, and what each process finds as the gradient of its own inputs is the whole of that loss's:
    the gradient of a parameter that all processes share is the sum of theirs over the processes. Where it is averaged
    instead, as DistributedDataParallel does, multiply the loss by the number of processes first.

    Args:
        queries: [B_r, D] of this process, as many as it has, or none.
        items: [n_r, D], those of the catalogue from `start` on.
        positives: what the queries of this process should find, items by their place in the whole catalogue; weights
            on all processes or on none.
        start: the place of this shard's first item; the shards follow one another in the order of the processes.
        bias: [n_r].
        excluded: pairs of this process's queries left out of the sum; on all processes or on none.
        among: the items that make up the catalogue, ascending int64 [n], the same everywhere; None for all.

    Raises:
        ValueError: no process has a positive to average over.
    """
    own, place = _own_items(len(items), start, among, items.device)
    if among is not None:
        items, bias = F.embedding(own, items), None if bias is None else bias[own]
    nothing = Positives(*(positives.rows[:0],) * 2)
    counts = _counts(group, queries, positives.rows, (excluded or nothing).rows, items)  # [W, 4]
    if not counts[:, 1].sum():
        raise ValueError("the loss is a mean over positives, and there is none")
    row_counts, positive_counts, excluded_counts, widths = counts.T.tolist()
    rows_before = sum(row_counts[: dist.get_rank(group)])
    gathered: Tensor = _GatheredRows.apply(queries, row_counts, group)  # [B, D]
    found = _gathered_pairs(positives, rows_before, positive_counts, group)
    gone = None if excluded is None else _gathered_pairs(excluded, rows_before, excluded_counts, group)
    return streamed_cross_entropy(
        gathered,
        items,
        bias,
        Positives(found.rows, _placed(found.items, start, place), found.weights),
        None if gone is None else _pairs_here(gone, _placed(gone.items, start, place)),
        _GroupShards(max(widths), group),
    )


class _GroupShards:
    """The shards of a process group; see `glta_cli.training.losses.Shards`."""

    def __init__(self, widest: int, group: dist.ProcessGroup) -> None:
        self.widest = widest
        self._group = group

    def maxima(self, values: Tensor) -> Tensor:
        dist.all_reduce(values, dist.ReduceOp.MAX, group=self._group)
        return values

    def sums(self, values: Tensor) -> Tensor:
        dist.all_reduce(values, dist.ReduceOp.SUM, group=self._group)
        return values


def _own_items(width: int, start: int, among: Tensor | None, device: torch.device) -> tuple[Tensor, Tensor]:
    """Which of this shard's items [n_r] take part, ascending, and the place of each among them, -1 for the others."""
    if among is None:
        return (torch.arange(width, device=device),) * 2
    own = among[(among >= start) & (among < start + width)] - start
    place = torch.full((width,), -1, device=device)
    place[own] = torch.arange(len(own), device=device)
    return own, place


def _placed(items: Tensor, start: int, place: Tensor) -> Tensor:
    """Places within this shard [P] of items of the catalogue [P]; -1 for those of other shards."""
    local = items - start
    here = (local >= 0) & (local < len(place))
    found = torch.full_like(items, -1)
    found[here] = place[local[here]]
    return found


def _pairs_here(pairs: Positives, places: Tensor) -> Positives:
    return Positives(pairs.rows[places >= 0], places[places >= 0])


# ------------------------------------------------------------------------------------------ between the processes


def _counts(group: dist.ProcessGroup, *parts: Tensor) -> Tensor:
    """How many rows each process has of each part: int64 [W, parts]."""
    own = torch.tensor([[len(part) for part in parts]], device=parts[0].device)
    counts = [torch.empty_like(own) for _ in range(dist.get_world_size(group))]
    dist.all_gather(counts, own, group=group)
    return torch.cat(counts).cpu()


def _gathered_pairs(pairs: Positives, rows_before: int, counts: list[int], group: dist.ProcessGroup) -> Positives:
    """The pairs of all processes, their rows counted from the first process's first."""
    rows_items = torch.stack([pairs.rows + rows_before, pairs.items], dim=1)  # [P_r, 2]
    rows, items = _gathered(rows_items, counts, group).T
    return Positives(rows, items, None if pairs.weights is None else _gathered(pairs.weights, counts, group))


def _gathered(values: Tensor, counts: list[int], group: dist.ProcessGroup) -> Tensor:
    """The rows of all processes one after another; `counts[r]` of process r, [sum of counts, ...]."""
    # Every backend gathers parts of one size.
    padded = values.new_zeros(max(counts), *values.shape[1:])
    padded[: len(values)] = values
    everyone = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(everyone, padded, group=group)
    return torch.cat([part[:count] for part, count in zip(everyone, counts, strict=True)])


class _GatheredRows(torch.autograd.Function):
    """`_gathered`; backwards each process gets the sum over all of the gradients of its own rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: list[int], group: dist.ProcessGroup) -> Tensor:
        ctx.counts, ctx.group = counts, group
        return _gathered(rows, counts, group)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        parts = [part.contiguous() for part in gradients[0].split(ctx.counts)]
        own = torch.empty_like(parts[dist.get_rank(ctx.group)])
        dist.reduce_scatter(own, parts, group=ctx.group)
        return own, None, None
