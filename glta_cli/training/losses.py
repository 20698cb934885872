"""Losses over user and item vectors."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from glta_cli.training.item_draws import Drawn, ItemDraws, draw_items
from glta_cli.training.sampled_terms import exponential_sums, pair_products

# Logits in memory at once: 16 MiB of float32, whatever the batch and, up to 4 million items, the catalogue.
CHUNK_LOGITS = 1 << 22


def bpr_loss(users: Tensor, positives: Tensor, negatives: Tensor, weights: Tensor | None = None) -> Tensor:
    """Bayesian personalised ranking: mean of -log σ(<u, i> - <u, j>) over embeddings [B, d] each.

    Args:
        weights: of the pairs, [B], with a mean of 1 over all of them, by which each term is multiplied.

    Source: Rendle et al., BPR, UAI 2009.
    """
    margin = (users * positives).sum(-1) - (users * negatives).sum(-1)
    terms = F.softplus(-margin)
    return terms.mean() if weights is None else (weights * terms).mean()


@dataclass(frozen=True)
class Positives:
    """Pairs of a batch row and a catalogue item, [P] each, int64.

    Attributes:
        weights: what each counts for, [P], float32, with a mean of 1 over all there are; None where all count the same.
    """

    rows: Tensor
    items: Tensor
    weights: Tensor | None = None


def catalogue_softmax_loss(
    queries: Tensor,
    items: Tensor,
    positives: Positives,
    *,
    bias: Tensor | None = None,
    excluded: Positives | None = None,
    sample: int | None = None,
    draws: ItemDraws | None = None,
    among: Tensor | None = None,
    drawn: Drawn | None = None,
    scaled: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Cross-entropy of every positive against the catalogue, averaged over positives.

    loss = mean over (b, i) of w[b, i] (log Σ_j exp z[b, j] - z[b, i]),  z[b, j] = <queries[b], items[j]> + bias[j]

    with w[b, i] = 1 for positives without weights. The mean is over as many positives as there are, whatever they
    weigh: so the gradient of a batch is an unbiased estimate of that of all.

    Beside the gradients it needs `CHUNK_LOGITS` numbers of memory (or a row of logits, where that is more), never
    [B, I]; with a sample of S items, a few times [B, S].

    Args:
        queries: [B, D].
        items: [I, D].
        positives: what each row should find, one pair at least; a row may have several, or none.
        bias: [I].
        excluded: pairs left out of the sum over the catalogue; none of them is a positive.
        sample: where the catalogue is larger, the positives' part of the sum is exact and the rest is estimated
            from this many items, corrected by log Q (Bengio and Senécal, 2008); no positive or excluded pair of a row
            is in its rest.
        draws: of the items that make up the catalogue, where they are not to be drawn uniformly.
        among: the items that make up the catalogue, ascending int64 [n], all positives among them; None for all.
        drawn: the sample, in place of one drawn here.
        scaled: what is made of item vectors before they are multiplied, row by row, such as unit length; with a sample
            only of the rows that are looked at, so that beside the gradient [I, D] a step takes no memory of all.

    Raises:
        ValueError: there is no positive to average over.
    """
    if not len(positives.rows):
        raise ValueError("the loss is a mean over positives, and there is none")
    if among is not None:
        place = torch.full((len(items),), -1, device=items.device)
        place[among] = torch.arange(len(among), device=items.device)
        items, bias = F.embedding(among, items), None if bias is None else bias[among]
        positives = _placed(positives, place)
        excluded = None if excluded is None else _placed(excluded, place)
        drawn = None if drawn is None else Drawn(place[drawn.items], drawn.correction)
    if drawn is None and sample is not None and sample < len(items):
        drawn = draw_items(sample, len(items), draws, items.device)
    if drawn is not None and len(drawn.items) < len(items):
        return _sampled_softmax_loss(queries, *_looked_at(items, positives, bias, excluded, drawn, scaled))
    items = items if scaled is None else scaled(items)
    return streamed_cross_entropy(queries, items, bias, positives, excluded)


def _looked_at(
    items: Tensor,
    positives: Positives,
    bias: Tensor | None,
    excluded: Positives | None,
    drawn: Drawn,
    scaled: Callable[[Tensor], Tensor] | None,
) -> tuple[Tensor, Positives, Tensor | None, Positives | None, Drawn]:
    """The items of a sample and of the positives alone, [n, D], as a catalogue in which everything is placed."""
    wanted = torch.unique(torch.cat([drawn.items, positives.items]))  # [n], ascending
    rows = F.embedding(wanted, items)

    def placed(pairs: Positives) -> Positives:
        places = torch.searchsorted(wanted, pairs.items.contiguous()).clamp_max(len(wanted) - 1)
        kept = wanted[places] == pairs.items
        return Positives(pairs.rows[kept], places[kept], None if pairs.weights is None else pairs.weights[kept])

    return (
        rows if scaled is None else scaled(rows),
        placed(positives),
        None if bias is None else bias[wanted],
        None if excluded is None else placed(excluded),
        Drawn(torch.searchsorted(wanted, drawn.items), drawn.correction),
    )


class Shards(Protocol):
    """Several devices, each with a part of the catalogue, that work on the same rows at the same time.

    Attributes:
        widest: items of the largest part, by which all of them cut the rows into the same chunks.
    """

    widest: int

    def maxima(self, values: Tensor) -> Tensor:
        """The largest over all parts, element by element."""
        ...

    def sums(self, values: Tensor) -> Tensor:
        """The sum over all parts, element by element."""
        ...


def streamed_cross_entropy(
    queries: Tensor,
    items: Tensor,
    bias: Tensor | None,
    positives: Positives,
    excluded: Positives | None,
    shards: Shards | None = None,
) -> Tensor:
    """The mean cross-entropy of `catalogue_softmax_loss`, items and pairs being those of the whole catalogue.

    Args:
        shards: where the catalogue is split: `items` and `bias` are this part's, `positives` all there are, with -1 for
            the items of other parts, and `excluded` this part's. The loss is that of all parts; the gradient towards
            the items is whole too, that towards the queries the share of this part's items, to be added up.
    """
    loss: Tensor = _CatalogueCrossEntropy.apply(queries, items, bias, positives, excluded, shards)
    return loss


def _placed(pairs: Positives, place: Tensor) -> Positives:
    """The pairs by the places of their items [I]; those of an item that has none, -1, are left out."""
    return _held(Positives(pairs.rows, place[pairs.items], pairs.weights))


class _CatalogueCrossEntropy(torch.autograd.Function):
    """The mean cross-entropy, a few rows of logits at a time.

    A chunk holds whole rows, so their normaliser is exact at once, and the chunk gives its share of the gradients
    before the next one takes its place: no logit is kept, and none is computed twice.

    With p = softmax(z), w the positives' weights, n[b] their sum over row b and P the number of all:
    ∂loss/∂z[b, j] = (n[b] p[b, j] - w[b, j]) / P.

    With the catalogue in several parts, the largest logit and the sum of exponentials of a row are those of all parts.

    Source: Hsu et al., Liger Kernel, arXiv 2410.10989 (a fused linear cross-entropy takes its gradients in the
    forward pass).
    """

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        items: Tensor,
        bias: Tensor | None,
        positives: Positives,
        excluded: Positives | None,
        shards: Shards | None,
    ) -> Tensor:
        ctx.dtypes = [None if given is None else given.dtype for given in (queries, items, bias)]
        # Exponentials and their sums need float32, whatever the inputs are.
        exact = torch.promote_types(queries.dtype, torch.float32)
        queries, items = queries.to(exact), items.to(exact)
        bias = None if bias is None else bias.to(exact)
        to_queries, to_items, to_bias = (
            torch.zeros_like(given) if needed and given is not None else None
            for given, needed in zip((queries, items, bias), ctx.needs_input_grad, strict=False)
        )

        size = max(1, CHUNK_LOGITS // max(1, len(items) if shards is None else shards.widest))
        buffer = items.new_empty(min(size, len(queries)), len(items))
        total = items.new_zeros(())
        nothing = Positives(*(positives.rows[:0],) * 2)
        chunks = (_chunks(pairs, len(queries), size) for pairs in (positives, excluded or nothing))
        for start, found, gone in zip(range(0, len(queries), size), *chunks, strict=True):
            part = slice(start, min(start + size, len(queries)))
            rows = part.stop - start
            z = torch.mm(queries[part], items.T, out=buffer[:rows])  # [C, I]
            if bias is not None:
                z += bias
            z.index_put_((gone.rows, gone.items), z.new_tensor(-math.inf))
            own = found if shards is None else _held(found)  # positives whose logits stand in z, [P of the chunk]
            scores = z[own.rows, own.items]
            largest = z.amax(1) if shards is None else shards.maxima(_largest(z))  # [C]
            z.sub_(largest[:, None]).exp_()
            sums = z.sum(1) if shards is None else shards.sums(z.sum(1))  # [C]
            terms = (largest + sums.log())[own.rows] - scores
            total += (terms if own.weights is None else terms * own.weights).sum()

            # What follows turns z into ∂loss/∂z, but for a factor of each row that is cheaper to put elsewhere.
            counts = torch.bincount(found.rows, found.weights, minlength=rows)  # n [C]
            factor = counts / (sums * len(positives.rows))
            share = (sums / counts)[own.rows]
            share = share if own.weights is None else share * own.weights
            z.index_put_((own.rows, own.items), -share, accumulate=True)
            if to_queries is not None:
                torch.mm(z, items, out=to_queries[part]).mul_(factor[:, None])
            if to_items is not None:
                to_items.addmm_(z.T, queries[part] * factor[:, None])
            if to_bias is not None:
                to_bias.addmv_(z.T, factor)
        ctx.save_for_backward(to_queries, to_items, to_bias)
        return (total if shards is None else shards.sums(total)) / len(positives.rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        # Of a loss that is taken as it is the gradient is there: of a large catalogue a copy is what a step needs most.
        as_it_is = bool(gradients[0] == 1)
        shares = (
            None if saved is None else (saved if as_it_is else saved * gradients[0]).to(dtype)
            for saved, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        )
        return *shares, None, None, None


def _held(pairs: Positives) -> Positives:
    """The pairs whose item is one of this part."""
    kept = pairs.items >= 0
    return Positives(pairs.rows[kept], pairs.items[kept], None if pairs.weights is None else pairs.weights[kept])


def _largest(z: Tensor) -> Tensor:
    """The largest logit of each row [C, I] -> [C]; of a part without an item none is larger than any."""
    return z.amax(1) if z.shape[1] else z.new_full((len(z),), -math.inf)


def _chunks(pairs: Positives, row_count: int, size: int) -> Iterator[Positives]:
    """The pairs of every `size` rows, their rows counted from the chunk's first."""
    order = torch.argsort(pairs.rows, stable=True)
    rows, items = pairs.rows[order], pairs.items[order]
    weights = None if pairs.weights is None else pairs.weights[order]
    starts = range(0, row_count, size)
    ends = torch.searchsorted(rows, torch.tensor([*starts, row_count], device=rows.device)).tolist()
    for start, first, last in zip(starts, ends[:-1], ends[1:], strict=True):
        yield Positives(rows[first:last] - start, items[first:last], None if weights is None else weights[first:last])


def _sampled_softmax_loss(
    queries: Tensor,
    items: Tensor,
    positives: Positives,
    bias: Tensor | None,
    excluded: Positives | None,
    drawn: Drawn,
) -> Tensor:
    rest = _plus(queries @ F.embedding(drawn.items, items).T, drawn.correction)  # [B, S]
    found = pair_products(queries, items, positives.rows, positives.items)  # [P]
    if bias is not None:
        rest = _plus(rest, bias[drawn.items])
        found = found + bias[positives.items]
    wider = torch.promote_types(rest.dtype, found.dtype)  # under autocast a product has fewer bits than a bias
    rest, found = rest.to(wider), found.to(wider)
    # What is a positive or excluded is no part of the rest, should it be drawn.
    column = torch.full((len(items),), -1, device=items.device)
    column[drawn.items] = torch.arange(len(drawn.items), device=items.device)
    for pairs in (positives,) if excluded is None else (positives, excluded):
        columns = column[pairs.items]
        with torch.no_grad():  # no gradient comes back to them, and none has to be cleared
            rest.index_put_((pairs.rows[columns >= 0], columns[columns >= 0]), rest.new_tensor(-math.inf))
    largest = rest.detach().amax(1).scatter_reduce(0, positives.rows, found.detach(), "amax")  # [B], of all terms
    total = exponential_sums(rest, largest)
    total = total.index_add(0, positives.rows, (found - largest[positives.rows]).exp())
    log_normaliser = largest + total.log()  # [B]
    terms = log_normaliser[positives.rows] - found
    return (terms if positives.weights is None else terms * positives.weights).mean()


def _plus(logits: Tensor, more: Tensor | float) -> Tensor:
    """Logits [B, S] and what is added to every row, in place where that has no wider numbers."""
    wider = isinstance(more, Tensor) and torch.promote_types(logits.dtype, more.dtype) != logits.dtype
    return logits + more if wider else logits.add_(more)
