"""Ranking metrics, per user, vectorised over ranked hits."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from glta_cli.plugin.interactions import Interactions

Name = TypeVar("Name", bound=Hashable)

RESAMPLES_A_BLOCK = 32


def hits_of(ranked: NDArray[np.int64], users: NDArray[np.int64], relevant: Interactions) -> NDArray[np.bool_]:
    """Which ranked items [n, K] are among the relevant items of their user [n] -> [n, K]."""
    width = relevant.item_count
    keys = np.sort(relevant.users * width + relevant.items)
    asked = users[:, None] * width + ranked
    found = np.minimum(np.searchsorted(keys, asked), max(len(keys) - 1, 0))
    return keys[found] == asked if len(keys) else np.zeros(ranked.shape, dtype=bool)


def ranking_metrics(
    ranked: NDArray[np.int64], users: NDArray[np.int64], relevant: Interactions, cutoffs: Sequence[int]
) -> dict[str, NDArray[np.float64]]:
    """Every metric at every cutoff, one value a user: `{"ndcg@10": [n], ...}`.

    With R the relevant items and h_i whether rank i is a hit:
    NDCG@K = Σ_{i≤K} h_i/log2(i+1) ÷ Σ_{i≤min(K,|R|)} 1/log2(i+1); Recall@K = hits/|R|; Precision@K = hits/K;
    Hit@K = any hit; MRR@K = 1/rank of the first hit; MAP@K = Σ h_i·precision@i ÷ min(K,|R|).

    Args:
        ranked: item indices, best first, at least max(cutoffs) columns unless the catalogue is smaller.
        users: the user of each row; each has at least one relevant item.
    """
    hits = hits_of(ranked, users, relevant)
    relevant_counts = relevant.counts[users]  # [n]
    ranks = np.arange(1, ranked.shape[1] + 1)
    discounts = 1 / np.log2(ranks + 1)
    precisions = hits.cumsum(axis=1) / ranks
    values: dict[str, NDArray[np.float64]] = {}
    for cutoff in cutoffs:
        head = hits[:, :cutoff]
        width = head.shape[1]
        hit_counts = head.sum(axis=1)
        ideal = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(1, cutoff + 1) + 1))])
        best = np.minimum(relevant_counts, cutoff)
        values[f"ndcg@{cutoff}"] = head @ discounts[:width] / ideal[best]
        values[f"recall@{cutoff}"] = hit_counts / relevant_counts
        values[f"precision@{cutoff}"] = hit_counts / cutoff
        values[f"hit@{cutoff}"] = (hit_counts > 0).astype(np.float64)
        first = np.argmax(head, axis=1)
        values[f"mrr@{cutoff}"] = np.where(hit_counts > 0, 1 / (first + 1), 0.0)
        values[f"map@{cutoff}"] = (head * precisions[:, :width]).sum(axis=1) / best
    return values


def bootstrap_intervals(
    values: Mapping[Name, NDArray[np.float64]], resamples: int, seed: int
) -> dict[Name, tuple[float, float]]:
    """The 95% percentile interval of each metric's mean over users; all metrics share the resamples."""
    generator = np.random.default_rng(seed)
    columns = np.stack(list(values.values()), axis=1)  # [n, M]
    users = len(columns)
    means = np.empty((resamples, columns.shape[1]))
    for start in range(0, resamples, RESAMPLES_A_BLOCK):
        block = means[start : start + RESAMPLES_A_BLOCK]
        draws = (generator.integers(0, users, users) for _ in block)
        times_drawn = np.stack([np.bincount(drawn, minlength=users) for drawn in draws])  # [R, n]
        block[:] = times_drawn.astype(np.float64) @ columns / users
    bounds = np.percentile(means, [2.5, 97.5], axis=0)  # [2, M]
    return {name: (float(low), float(high)) for name, low, high in zip(values, *bounds, strict=True)}
