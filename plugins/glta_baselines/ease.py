"""EASE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from glta_baselines.settings import EaseSettings
from glta_cli.plugin import BaselineData, Interactions, Scorer


class Ease:
    """A linear autoencoder over histories that may not copy an item onto itself, solved in closed form.

    score[u] = X[u] B,  B = I - P diag(P)^-1,  P = (X^T X + λ I)^-1,  X the binary histories [U, I].

    B minimises |X - X B|² + λ |B|² with a diagonal of zeros. Time grows with I³ and memory with I².

    Source: Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019, equation 8.
    """

    def __init__(self, settings: EaseSettings) -> None:
        self.settings = settings

    def fit(self, data: BaselineData) -> dict[str, NDArray[Any]]:
        """`weights`, B, float32 [I, I]."""
        histories = binary_histories(data.train)  # [U, I]
        gram = (histories.T @ histories).toarray().astype(np.float64)  # [I, I]
        gram[np.diag_indices_from(gram)] += self.settings.regularization
        inverse = np.linalg.inv(gram)
        weights = inverse / -inverse.diagonal()  # column j by P[j, j]
        np.fill_diagonal(weights, 0)
        return {"weights": weights.astype(np.float32)}

    def scorer(self, learnt: Mapping[str, NDArray[Any]], train: Interactions) -> Scorer:
        histories = binary_histories(train)
        return lambda users: histories[users] @ learnt["weights"]  # [B, I]


def binary_histories(interactions: Interactions) -> csr_array:
    """1 at the items of each user's history, [U, I]."""
    ones = np.ones(len(interactions), dtype=np.float32)
    shape = (interactions.user_count, interactions.item_count)
    return csr_array((ones, interactions.items, interactions.indptr), shape=shape)
