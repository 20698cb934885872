"""Add-EASE: the weights of histories and those of item texts, added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from glta_baselines.choice import Ladder
from glta_baselines.linear_row import LinearRow
from glta_baselines.ridge_inverse import Correction, RidgeInverse
from glta_baselines.text_weights import TEXT_REGULARIZATION, TEXT_REGULARIZATION_LADDER, text_weights

SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)


class AddEase(LinearRow):
    """B = (1 - α) EASE(X) + α EASE(T), X the histories [U, I], T the text vectors [I, D], each with its own ridge.

    Source: Jeunen, Van Balen and Goethals, Closed-Form Models for Collaborative Filtering with Side-Information,
    RecSys 2020.
    """

    name = "add-ease"
    needs_text_vectors = True
    smaller = "elsa-text"
    regularization_unchosen = 100.0
    solved_with_ease = True
    text_ladders: ClassVar = {
        "text_share": Ladder(SHARES, start=0.5, unchosen=0.5),
        TEXT_REGULARIZATION: TEXT_REGULARIZATION_LADDER,
    }

    def correction(
        self, inverse: RidgeInverse, texts: NDArray[np.float64] | None, numbers: Mapping[str, float]
    ) -> Correction | None:
        assert texts is not None
        by_texts = text_weights(texts, numbers[TEXT_REGULARIZATION])
        share = numbers["text_share"]
        scale = np.full(len(texts), 1 - share)
        return Correction(scale, by_texts.of(texts), texts * (share * by_texts.columns)[:, None])
