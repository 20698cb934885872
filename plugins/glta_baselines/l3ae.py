"""L3AE: EASE whose weights are drawn towards those of the item texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from glta_baselines.choice import Ladder
from glta_baselines.linear_row import REGULARIZATION, LinearRow
from glta_baselines.ridge_inverse import Correction, RidgeInverse
from glta_baselines.text_weights import TEXT_REGULARIZATION, TEXT_REGULARIZATION_LADDER, text_weights

PULLS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0)


class L3ae(LinearRow):
    """EASE regularised towards C, the weights that the texts alone give, in place of towards zero.

    B minimises |X - X B|² + λ_X |B|² + λ_E |B - C|² with a diagonal of zeros, in closed form: with λ = λ_X + λ_E and
    P = (X^T X + λ I)^-1

        B = λ_E P C - P ⊙ (1 + λ_E diag(P C)) / diag(P)  off the diagonal, each column by its own element of diag,

    X the histories [U, I], C = EASE on the text vectors T [I, D] with ridge λ_F. Settings are λ, the ridge that EASE
    alone would have, λ_E / λ and λ_F: above 1 the pull makes λ_X negative, as its authors have it on most data.
    P C is P diag(1 - c) + (P T M) T^T diag(c), M and c those of `TextWeights`: beside the Cholesky decomposition of
    EASE it costs I² D.

    Source: Moon, Park and Lee, LLM-Enhanced Linear Autoencoders for Recommendation, CIKM 2025 (arXiv 2508.13500).
    """

    name = "l3ae"
    needs_text_vectors = True
    smaller = "elsa-text"
    regularization_unchosen = 100.0
    solved_with_ease = True
    text_ladders: ClassVar = {
        "pull": Ladder(PULLS, start=1.0, unchosen=1.0),
        TEXT_REGULARIZATION: TEXT_REGULARIZATION_LADDER,
    }

    def correction(
        self, inverse: RidgeInverse, texts: NDArray[np.float64] | None, numbers: Mapping[str, float]
    ) -> Correction | None:
        """B off the diagonal: its P C put into the formula, P in terms of EASE's weights, -P diag(P)^-1."""
        assert texts is not None
        drawn = numbers["pull"] * numbers[REGULARIZATION]  # λ_E
        by_texts = text_weights(texts, numbers[TEXT_REGULARIZATION])
        left = by_texts.of(inverse.times(texts))  # P T M [I, D]
        right = texts * (drawn * by_texts.columns)[:, None]  # [I, D]
        return Correction(1 + (left * right).sum(axis=1), left, right)
