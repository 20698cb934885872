"""Text alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from glta_baselines.histories import SCORING_SETTINGS, histories_of
from glta_baselines.settings import TextOnlySettings
from glta_cli.plugin import BaselineData, GltaError, Interactions, Scorer, VectorTerm


class TextOnly:
    """A user is the mean of the texts in the history, by what they weigh, and likes what resembles it.

    score[u, i] = <Σ_j X[u, j] t_j, t_i> / |Σ_j X[u, j] t_j|,  t the text vectors of unit length [I, D], X the histories
    [U, I]: weights, or 1 where there are none, of which older items have less where `recency` is below 1.

    What the language model's vectors rank by themselves: nothing of it comes from what other users did.
    """

    needs_text_vectors = True
    uses_seed = False
    scoring_settings = SCORING_SETTINGS
    uses_weights = True

    def __init__(self, settings: TextOnlySettings) -> None:
        self.settings = settings

    def fit(self, data: BaselineData) -> dict[str, NDArray[Any]]:
        """`vectors`, t, float32 [I, D]."""
        if data.text_vectors is None:
            raise GltaError("text-only needs the vectors of item texts")
        return {"vectors": data.text_vectors}

    def scorer(self, learnt: Mapping[str, NDArray[Any]], train: Interactions) -> Scorer:
        vectors = learnt["vectors"]
        histories = histories_of(train, self.settings.recency)

        def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
            scores: NDArray[np.float32] = _directions(histories[users], vectors) @ vectors.T  # [B, I]
            return scores

        return score

    def term(self, learnt: Mapping[str, NDArray[Any]], histories: Interactions) -> VectorTerm:
        vectors = learnt["vectors"]
        return VectorTerm(_directions(histories_of(histories, self.settings.recency), vectors), vectors)


def _directions(histories: csr_array, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean text of each history [B, I], of unit length; zeros without a history: [B, D]."""
    means: NDArray[np.float32] = histories @ vectors
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    return means
