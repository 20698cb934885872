"""ItemKNN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from glta_baselines.histories import SCORING_SETTINGS, histories_of
from glta_baselines.settings import ItemKnnSettings
from glta_cli.plugin import BaselineData, Interactions, LinearTerm, Scorer

# Items whose similarities to all others are held at once.
BLOCK = 512


class ItemKnn:
    """The k most similar items of each item vote for it.

    score[u] = X[u] S^T,  S[i, j] = c[i, j] / (|c_i| |c_j| + shrink) for the k largest j of each i, 0 elsewhere and at
    i = j; c = X^T X counts users in common, |c_i| = √c[i, i], X the histories [U, I]: weights, or 1 where there are
    none. Scores take X with older items weighing less where `recency` is below 1.

    Source: Sarwar et al., Item-Based Collaborative Filtering Recommendation Algorithms, WWW 2001; the shrinkage from
    Bell and Koren, Scalable Collaborative Filtering with Jointly Derived Neighborhood Interpolation Weights, ICDM 2007.
    """

    uses_seed = False
    scoring_settings = SCORING_SETTINGS
    uses_weights = True

    def __init__(self, settings: ItemKnnSettings) -> None:
        self.settings = settings

    def fit(self, data: BaselineData) -> dict[str, NDArray[Any]]:
        """S in compressed rows: `indptr` int64 [I + 1], `items` int32 [n], `similarities` float32 [n]."""
        histories = histories_of(data.train)  # [U, I]
        transposed = histories.T.tocsr()
        lengths = np.sqrt(np.asarray(histories.multiply(histories).sum(axis=0)).ravel())  # |c_i| [I]
        kept = [
            self._neighbours((transposed[start : start + BLOCK] @ histories).toarray(), lengths, start)
            for start in range(0, data.train.item_count, BLOCK)
        ]
        counts = np.concatenate([count for count, _, _ in kept])
        return {
            "indptr": np.concatenate([[0], np.cumsum(counts)]),
            "items": np.concatenate([items for _, items, _ in kept]).astype(np.int32),
            "similarities": np.concatenate([similar for _, _, similar in kept]),
        }

    def _neighbours(
        self, common: NDArray[np.float32], lengths: NDArray[np.float32], start: int
    ) -> tuple[NDArray[Any], ...]:
        """The k largest of each row of counts [B, I], items from `start` on: how many, which, and their similarity."""
        rows = np.arange(len(common))
        similar = common / np.maximum(np.outer(lengths[start + rows], lengths) + self.settings.shrink, 1e-12)
        similar[rows, start + rows] = 0
        # Ties in the order of the items: the same on every machine.
        best = np.argsort(-similar, axis=1, kind="stable")[:, : self.settings.neighbours]
        values = np.take_along_axis(similar, best, axis=1)
        found = values > 0
        return found.sum(axis=1), best[found], values[found].astype(np.float32)

    def scorer(self, learnt: Mapping[str, NDArray[Any]], train: Interactions) -> Scorer:
        histories, similar = histories_of(train, self.settings.recency), _similar(learnt)
        return lambda users: (histories[users] @ similar.T).toarray()  # [B, I]

    def term(self, learnt: Mapping[str, NDArray[Any]], histories: Interactions) -> LinearTerm:
        return LinearTerm(_similar(learnt).T.tocsr(), self.settings.recency)


def _similar(learnt: Mapping[str, NDArray[Any]]) -> csr_array:
    """S, float32 [I, I]."""
    count = len(learnt["indptr"]) - 1
    return csr_array((learnt["similarities"], learnt["items"], learnt["indptr"]), shape=(count, count))
