"""Losses over user and item vectors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


def bpr_loss(users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """Bayesian personalised ranking: mean of -log σ(<u, i> - <u, j>) over embeddings [B, d] each.

    Source: Rendle et al., BPR, UAI 2009.
    """
    margin = (users * positives).sum(-1) - (users * negatives).sum(-1)
    return F.softplus(-margin).mean()


@dataclass(frozen=True)
class Positives:
    """Pairs of a batch row and a catalogue item, [P] each, int64."""

    rows: Tensor
    items: Tensor


def catalogue_softmax_loss(
    queries: Tensor,
    items: Tensor,
    positives: Positives,
    *,
    bias: Tensor | None = None,
    excluded: Positives | None = None,
    sample: int | None = None,
) -> Tensor:
    """Cross-entropy of every positive against the catalogue, averaged over positives.

    loss = mean over (b, i) of log Σ_j exp z[b, j] - z[b, i],  z[b, j] = <queries[b], items[j]> + bias[j]

    Args:
        queries: [B, D].
        items: [I, D].
        positives: what each row should find; a row may have several.
        bias: [I].
        excluded: pairs left out of the sum over the catalogue; none of them is a positive.
        sample: where the catalogue is larger, the positives' part of the sum is exact and the rest is estimated
            from this many items drawn uniformly, corrected by log Q (Bengio and Senécal, 2008).
    """
    if sample is not None and sample < len(items):
        return _sampled_softmax_loss(queries, items, positives, bias, excluded, sample)
    logits = queries @ items.T  # [B, I]
    if bias is not None:
        logits = logits + bias
    if excluded is not None:
        logits = logits.index_put((excluded.rows, excluded.items), logits.new_tensor(-math.inf))
    log_normaliser = torch.logsumexp(logits, dim=1)  # [B]
    return (log_normaliser[positives.rows] - logits[positives.rows, positives.items]).mean()


def _sampled_softmax_loss(
    queries: Tensor,
    items: Tensor,
    positives: Positives,
    bias: Tensor | None,
    excluded: Positives | None,
    sample: int,
) -> Tensor:
    drawn = torch.randperm(len(items), device=items.device)[:sample]  # [S], none of them twice
    rest = queries @ items[drawn].T + math.log(len(items) / sample)  # [B, S]
    found = (queries[positives.rows] * items[positives.items]).sum(-1)  # [P]
    if bias is not None:
        rest = rest + bias[drawn]
        found = found + bias[positives.items]
    # What is a positive or excluded is no part of the rest, should it be drawn.
    column = torch.full((len(items),), -1, device=items.device)
    column[drawn] = torch.arange(sample, device=items.device)
    for pairs in (positives,) if excluded is None else (positives, excluded):
        columns = column[pairs.items]
        rest = rest.index_put((pairs.rows[columns >= 0], columns[columns >= 0]), rest.new_tensor(-math.inf))
    largest = rest.detach().amax(1).scatter_reduce(0, positives.rows, found.detach(), "amax")  # [B], of all terms
    total = (rest - largest[:, None]).exp().sum(1)
    total = total.index_add(0, positives.rows, (found - largest[positives.rows]).exp())
    log_normaliser = largest + total.log()  # [B]
    return (log_normaliser[positives.rows] - found).mean()
