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
        sample: where the catalogue is larger, the sum is estimated from this many items drawn uniformly,
            corrected by log Q (Bengio and Senécal, 2008).
    """
    if sample is not None and sample < len(items):
        return _sampled_softmax_loss(queries, items, positives, bias, sample)
    logits = queries @ items.T  # [B, I]
    if bias is not None:
        logits = logits + bias
    if excluded is not None:
        logits = logits.index_put((excluded.rows, excluded.items), logits.new_tensor(-math.inf))
    log_normaliser = torch.logsumexp(logits, dim=1)  # [B]
    return (log_normaliser[positives.rows] - logits[positives.rows, positives.items]).mean()


def _sampled_softmax_loss(
    queries: Tensor, items: Tensor, positives: Positives, bias: Tensor | None, sample: int
) -> Tensor:
    drawn = torch.randint(len(items), (sample,), device=items.device)
    negatives = queries @ items[drawn].T + math.log(len(items) / sample)  # [B, S]
    found = (queries[positives.rows] * items[positives.items]).sum(-1)  # [P]
    if bias is not None:
        negatives = negatives + bias[drawn]
        found = found + bias[positives.items]
    # The positive stands in its own sum, as it does in the full one.
    log_normaliser = torch.logaddexp(torch.logsumexp(negatives, dim=1)[positives.rows], found)
    return (log_normaliser - found).mean()
