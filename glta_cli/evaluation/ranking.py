"""The one ranking function: exact top-k over the whole catalogue, seen items masked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from glta_cli.data.interactions import Interactions
from glta_cli.errors import GltaError

Scorer = Callable[[NDArray[np.int64]], NDArray[np.float32]]
"""User indices [B] -> scores [B, I]; the array is the caller's to change."""


def top_k(scores: NDArray[np.floating], k: int) -> NDArray[np.int64]:
    """The k best columns of each row [B, I] -> [B, min(k, I)]: score descending, then column ascending.

    Raises:
        GltaError: a score is NaN.
    """
    rows, columns = scores.shape
    k = min(k, columns)
    if np.isnan(scores).any():
        raise GltaError("a score is NaN, so there is no ranking", hint="the model diverged: lower its learning rate")
    threshold = np.partition(scores, columns - k, axis=1)[:, columns - k, None]  # [B, 1], the k-th best score
    kept = scores >= threshold
    crowded = np.flatnonzero(kept.sum(axis=1) > k)
    if len(crowded):
        kept[crowded] = _first_ties(scores[crowded], threshold[crowded], k)
    candidates = np.nonzero(kept)[1].reshape(rows, k)  # columns ascending
    order = np.argsort(-np.take_along_axis(scores, candidates, axis=1), axis=1, kind="stable")
    return np.take_along_axis(candidates, order, axis=1)


def _first_ties(scores: NDArray[np.floating], threshold: NDArray[np.floating], k: int) -> NDArray[np.bool_]:
    """Of the columns that tie at the threshold, keep the first ones that still have a place."""
    above = scores > threshold
    tied = scores == threshold
    places = k - above.sum(axis=1, keepdims=True)
    kept: NDArray[np.bool_] = above | (tied & (tied.cumsum(axis=1) <= places))
    return kept


def mask_seen(scores: NDArray[np.float32], users: NDArray[np.int64], *seen: Interactions) -> None:
    """Set the scores [B, I] of items that stand in any of `seen` to minus infinity, in place."""
    for interactions in seen:
        lengths = interactions.counts[users]
        rows = np.repeat(np.arange(len(users)), lengths)
        starts = np.repeat(interactions.indptr[users] - (np.cumsum(lengths) - lengths), lengths)
        scores[rows, interactions.items[starts + np.arange(len(rows))]] = -np.inf


def rank_users(
    score: Scorer, users: NDArray[np.int64], k: int, *seen: Interactions, batch_size: int = 1024
) -> NDArray[np.int64]:
    """The k best unseen items of each user: [n] -> [n, min(k, I)]."""
    ranked = []
    for start in range(0, len(users), batch_size):
        batch = users[start : start + batch_size]
        scores = score(batch)
        mask_seen(scores, batch, *seen)
        ranked.append(top_k(scores, k))
    return np.concatenate(ranked)
