"""Late fusion of the graph encoder's scores with the language model's.

score = z(CF) + w·z(LLM), z-scored per user over the catalogue. The weight w ≥ 0 is a step function of the length
of the user's history, chosen by validation NDCG; w = 0 is the graph encoder itself, so the language model has
to earn every change.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glta_cli.data.interactions import Interactions
from glta_cli.evaluation.metrics import ranking_metrics
from glta_cli.evaluation.ranking import Scorer, rank_users

WEIGHTS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0)
STEPS = 3
LEAST_USERS_A_STEP = 100
METRIC = "ndcg@10"


@dataclass(frozen=True)
class FusionWeights:
    """w by history length: `weights[s]` for lengths from `starts[s]` up to the next start."""

    starts: list[int]
    weights: list[float]

    def of_lengths(self, lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        """The weight of each history length: [n] -> [n]."""
        step = np.searchsorted(self.starts, lengths, side="right") - 1
        return np.asarray(self.weights, dtype=np.float32)[np.maximum(step, 0)]


def z_scores(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each row [B, I] centred and scaled to unit variance; a constant row becomes zeros."""
    centred = scores - scores.mean(axis=1, keepdims=True)
    deviation = centred.std(axis=1, keepdims=True)
    return np.asarray(centred / np.where(deviation > 0, deviation, 1), dtype=np.float32)


def fuse(
    graph: NDArray[np.float32], language: NDArray[np.float32], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """z(CF) + w·z(LLM): scores [B, I] each and weights [B] -> [B, I]."""
    return z_scores(graph) + weights[:, None] * z_scores(language)


def choose_weights(
    graph: Scorer,
    language: Scorer,
    train: Interactions,
    validation: Interactions,
) -> FusionWeights:
    """The weight with the best validation NDCG@10 for each third of the users by history length.

    Thirds with fewer than 100 validation users are too small to choose on and are not told apart.
    """
    users = np.flatnonzero(validation.counts)
    lengths = train.counts[users]
    starts = _step_starts(lengths)
    quality = np.stack([_quality(graph, language, weight, users, train, validation) for weight in WEIGHTS])  # [W, n]
    step = np.searchsorted(starts, lengths, side="right") - 1
    # The first of equal weights wins, so the language model has to improve the ranking to be heard.
    weights = [WEIGHTS[int(quality[:, step == s].mean(axis=1).argmax())] for s in range(len(starts))]
    return FusionWeights(starts, weights)


def _step_starts(lengths: NDArray[np.int64]) -> list[int]:
    if len(lengths) < STEPS * LEAST_USERS_A_STEP:
        return [0]
    edges = np.quantile(lengths, np.arange(1, STEPS) / STEPS).astype(int) + 1
    starts = [0]
    for edge in edges:
        inside = ((lengths >= starts[-1]) & (lengths < edge)).sum()
        if inside >= LEAST_USERS_A_STEP and (lengths >= edge).sum() >= LEAST_USERS_A_STEP:
            starts.append(int(edge))
    return starts


def _quality(
    graph: Scorer,
    language: Scorer,
    weight: float,
    users: NDArray[np.int64],
    train: Interactions,
    validation: Interactions,
) -> NDArray[np.float64]:
    def score(batch: NDArray[np.int64]) -> NDArray[np.float32]:
        return fuse(graph(batch), language(batch), np.full(len(batch), weight, dtype=np.float32))

    ranked = rank_users(score, users, 10, train)
    return ranking_metrics(ranked, users, validation, [10])[METRIC]
