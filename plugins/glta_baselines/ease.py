"""EASE, from histories alone and with item texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dpotri

from glta_baselines.histories import SCORING_SETTINGS, histories_of
from glta_baselines.settings import EaseSettings, EaseTextSettings
from glta_cli.plugin import BaselineData, GltaError, Interactions, LinearTerm, Scorer

# Rows of a Gram matrix that are worked on at once, so that little stands beside it.
BLOCK = 256


class Ease:
    """A linear autoencoder over histories that may not copy an item onto itself, solved in closed form.

    score[u] = X[u] B,  B = I - P diag(P)^-1,  P = (X^T X + λ I)^-1,  X the histories [U, I]: weights, or 1 where
    there are none. Weights enter as they are, so that λ is to an interaction of weight 1 what it is without weights.

    B minimises |X - X B|² + λ |B|² with a diagonal of zeros. Time grows with I³. Memory is 12 bytes for each pair of
    items while it is fitted, and 4 afterwards: B is dense, and only the rows of items in nobody's history, which a
    k-core has none or few of, could be left out. Where `recency` is below 1, older items weigh less in the X that is
    scored; B stays.

    Source: Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019, equation 8.
    """

    uses_seed = False
    scoring_settings = SCORING_SETTINGS
    uses_weights = True

    def __init__(self, settings: EaseSettings) -> None:
        self.settings = settings

    def fit(self, data: BaselineData) -> dict[str, NDArray[Any]]:
        """`weights`, B, float32 [I, I]."""
        return {"weights": item_weights(item_counts(data.train), self.settings.regularization)}

    def scorer(self, learnt: Mapping[str, NDArray[Any]], train: Interactions) -> Scorer:
        return linear_scorer(learnt["weights"], train, self.settings.recency)

    def term(self, learnt: Mapping[str, NDArray[Any]], histories: Interactions) -> LinearTerm:
        return LinearTerm(learnt["weights"], self.settings.recency)


class EaseText:
    """EASE in which every direction of the text vectors is one more user.

    The histories X are stacked on a·T^T, T the text vectors of unit length [I, D]; P = (X^T X + a² T T^T + λ I)^-1.
    Items that share words then predict each other even where no user has met both.

    Source: Steck, WWW 2019, equation 8, with side information stacked as in Jeunen, Van Balen and Goethals,
    Closed-Form Models for Collaborative Filtering with Side-Information, RecSys 2020.
    """

    needs_text_vectors = True
    uses_seed = False
    scoring_settings = SCORING_SETTINGS
    uses_weights = True

    def __init__(self, settings: EaseTextSettings) -> None:
        self.settings = settings

    def fit(self, data: BaselineData) -> dict[str, NDArray[Any]]:
        """`weights`, B, float32 [I, I]."""
        if data.text_vectors is None:
            raise GltaError("ease-text needs the vectors of item texts")
        texts = data.text_vectors.astype(np.float64) * self.settings.text_weight  # a·T [I, D]
        gram = item_counts(data.train)
        for start in range(0, len(gram), BLOCK):
            gram[start : start + BLOCK] += texts[start : start + BLOCK] @ texts.T
        return {"weights": item_weights(gram, self.settings.regularization)}

    def scorer(self, learnt: Mapping[str, NDArray[Any]], train: Interactions) -> Scorer:
        return linear_scorer(learnt["weights"], train, self.settings.recency)

    def term(self, learnt: Mapping[str, NDArray[Any]], histories: Interactions) -> LinearTerm:
        return LinearTerm(learnt["weights"], self.settings.recency)


def item_counts(train: Interactions) -> NDArray[np.float64]:
    """X^T X: users two items have in common, by what they weigh, [I, I]."""
    histories = histories_of(train)  # [U, I]
    counts: NDArray[np.float64] = (histories.T @ histories).astype(np.float64).toarray()
    return counts


def item_weights(gram: NDArray[np.float64], regularization: float) -> NDArray[np.float32]:
    """B of a Gram matrix [I, I], which is overwritten: float32 [I, I].

    By Cholesky: half the arithmetic of an LU decomposition, and in place.

    Raises:
        GltaError: with so little regularization the matrix cannot be inverted in double precision.
    """
    gram[np.diag_indices_from(gram)] += regularization
    # LAPACK counts by columns: the transpose of a symmetric matrix is itself, and is taken without a copy.
    factor, failed = dpotrf(gram.T, lower=True, clean=False, overwrite_a=True)
    if not failed:
        inverse, failed = dpotri(factor, lower=True, overwrite_c=True)
    if failed:
        raise GltaError(
            f"EASE's item-item matrix of {len(gram):,} items cannot be inverted with regularization {regularization:g}",
            hint="set a larger regularization",
        )
    upper = inverse.T  # P, of which the triangle below the diagonal was not computed
    scales = -upper.diagonal()
    weights = np.empty(gram.shape, dtype=np.float32)
    for start in range(0, len(gram), BLOCK):
        rows = slice(start, start + BLOCK)
        block = np.triu(upper[rows, start:])
        weights[rows, start:] = block / scales[start:]  # column j by P[j, j]
        # Where a block meets its own transpose, only below the diagonal.
        below = weights[start:, rows]
        np.copyto(
            below, block.T / scales[rows], where=np.tri(len(below), below.shape[1], -1, bool), casting="same_kind"
        )
    np.fill_diagonal(weights, 0)
    return weights


def linear_scorer(weights: NDArray[np.float32], train: Interactions, recency: float) -> Scorer:
    """Histories, of which older items weigh less, times weights [I, I]."""
    histories = histories_of(train, recency)
    return lambda users: histories[users] @ weights  # [B, I]
