"""Late fusion: the scores of several terms added up, each z-scored per user over the catalogue.

score = Σ w_t·z(term_t), with weights w_t ≥ 0 that are step functions of the length of the user's history. How they are
found for any terms stands in `term_weights.py`; here, for a recipe that names the encoder and the language model:
score = z(CF) + w·z(LLM), where w is chosen by validation NDCG; w = 0 is the graph encoder itself, so the language model
has to earn every change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.progress import progress_bar
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.scorer import Scorer
from glta_cli.ranking.metrics import ranking_metrics
from glta_cli.ranking.top_k import BLOCK, mask_seen, top_k

WEIGHTS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0)
STEPS = 3
LEAST_USERS_A_STEP = 100
MOST_USERS = 10_000
CUTOFF = 10

KEPT_BEFORE_INDEX = "the index starts again, the stages before it are kept"


@dataclass(frozen=True)
class FusionWeights:
    """w by history length: `weights[s]` for lengths from `starts[s]` up to the next start; one, or one a term, [T]."""

    starts: list[int]
    weights: list[float] | list[list[float]]

    def of_lengths(self, lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        """The weight of each history length: [n] -> [n], or [n, T] of T terms."""
        step = np.searchsorted(self.starts, lengths, side="right") - 1
        return np.asarray(self.weights, dtype=np.float32)[np.maximum(step, 0)]


def z_scores(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each row [B, I] centred and scaled to unit variance; a constant row becomes zeros."""
    mean = scores.mean(axis=1, keepdims=True)
    centred: NDArray[np.float32] = scores - mean
    centred /= _deviation(centred, mean)
    return centred


def mean_and_deviation(scores: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What `z_scores` takes from each row [B, I] and what it divides it by, [B, 1] each; infinity of a constant row."""
    mean = scores.mean(axis=1, keepdims=True)
    return mean, _deviation(scores - mean, mean)


def _deviation(centred: NDArray[np.float32], mean: NDArray[np.float32]) -> NDArray[np.float32]:
    variance = np.einsum("bi,bi->b", centred, centred)[:, None] / centred.shape[1]
    # A constant row is left with the rounding of its mean.
    varied = variance > (4 * np.spacing(np.abs(mean))) ** 2
    found: NDArray[np.float32] = np.where(varied, np.sqrt(variance), np.inf)
    return found


def fuse_terms(scores: Sequence[NDArray[np.float32]], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Σ w_t·z(term_t): scores [B, I] of each of T terms and weights [B, T] -> [B, I]."""
    fused = np.zeros_like(scores[0])
    for term, own in zip(scores, weights.T, strict=True):
        standardised = z_scores(term)
        standardised *= own[:, None]
        fused += standardised
    return fused


def choose_weights(
    graph: Scorer, language: Scorer, train: Interactions, validation: Interactions, *, seed: int
) -> FusionWeights:
    """The weight with the best validation NDCG@10 for each third of the users by history length.

    Thirds with fewer than 100 validation users are too small to choose on and are not told apart.

    Args:
        graph, language: scores by training histories, of `fusion_users` at least.
    """
    users = fusion_users(validation, seed=seed)
    lengths = train.counts[users]
    starts = step_starts(lengths)
    quality = _quality_by_weight(graph, language, users, train, validation)  # [W, n]
    step = np.searchsorted(starts, lengths, side="right") - 1
    # The first of equal weights wins, so the language model has to improve the ranking to be heard.
    weights = [WEIGHTS[int(quality[:, step == s].mean(axis=1).argmax())] for s in range(len(starts))]
    return FusionWeights(starts, weights)


def fusion_users(validation: Interactions, *, seed: int) -> NDArray[np.int64]:
    """The users weights are chosen on, ascending: those with a validation item, or a random 10,000 of more."""
    users = np.flatnonzero(validation.counts)
    if len(users) <= MOST_USERS:
        return users
    return np.sort(np.random.default_rng(seed).choice(users, MOST_USERS, replace=False))


def step_starts(lengths: NDArray[np.int64]) -> list[int]:
    """The history lengths at which weights may change, ascending from 0: thirds of the users, none too small."""
    if len(lengths) < STEPS * LEAST_USERS_A_STEP:
        return [0]
    edges = np.quantile(lengths, np.arange(1, STEPS) / STEPS).astype(int) + 1
    starts = [0]
    for edge in edges:
        inside = ((lengths >= starts[-1]) & (lengths < edge)).sum()
        if inside >= LEAST_USERS_A_STEP and (lengths >= edge).sum() >= LEAST_USERS_A_STEP:
            starts.append(int(edge))
    return starts


def _quality_by_weight(
    graph: Scorer, language: Scorer, users: NDArray[np.int64], train: Interactions, validation: Interactions
) -> NDArray[np.float64]:
    """NDCG@10 of every weight for every user: [W, n]."""
    ranked = np.empty((len(WEIGHTS), len(users), min(CUTOFF, train.item_count)), dtype=np.int64)
    with progress_bar(
        len(users),
        "choose fusion weights",
        "users",
        step="this batch of users",
        kept=KEPT_BEFORE_INDEX,
    ) as bar:
        for start in range(0, len(users), BLOCK):
            batch = users[start : start + BLOCK]
            graph_scores, language_scores = z_scores(graph(batch)), z_scores(language(batch))
            mask_seen(graph_scores, batch, train)
            fused = np.empty_like(graph_scores)
            for number, weight in enumerate(WEIGHTS):
                np.multiply(language_scores, np.float32(weight), out=fused)
                fused += graph_scores
                ranked[number, start : start + len(batch)] = top_k(fused, CUTOFF)
            bar.update(len(batch))
    return np.stack([ranking_metrics(each, users, validation, [CUTOFF])[f"ndcg@{CUTOFF}"] for each in ranked])
