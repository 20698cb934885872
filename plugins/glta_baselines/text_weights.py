"""EASE on the texts of items alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from glta_baselines.choice import ONE_TWO_FIVE, Ladder
from glta_cli.plugin import GltaError

TEXT_REGULARIZATION = "text_regularization"
TEXT_REGULARIZATION_LADDER = Ladder(ONE_TWO_FIVE, start=10.0, unchosen=10.0)
# What is left of 1 where rounding is more than what it stands for.
SMALLEST = 1e-12


@dataclass(frozen=True, eq=False)
class TextWeights:
    """C = I - P diag(P)^-1 with P = (T T^T + λ_F I)^-1, T the text vectors [I, D], in a form of rank D.

    P = (I - T M T^T) / λ_F with M = (T^T T + λ_F I)^-1, by the identity of Woodbury, so that off the diagonal
    C = T M T^T diag(columns).

    Source: Steck, WWW 2019, equation 8, for the columns of T^T in place of histories.

    Attributes:
        core: M, by its Cholesky factor.
        columns: 1 / (1 - diag(T M T^T)), float64 [I].
    """

    core: tuple[NDArray[np.float64], bool]
    columns: NDArray[np.float64]

    def of(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Vectors [n, D] times M."""
        found: NDArray[np.float64] = cho_solve(self.core, vectors.T).T
        return found


def text_weights(texts: NDArray[np.float64], regularization: float) -> TextWeights:
    """Solve for the text vectors [I, D].

    Raises:
        GltaError: with so little regularization the matrix cannot be inverted in double precision.
    """
    small = GltaError(
        f"the item-item matrix of texts cannot be inverted with {TEXT_REGULARIZATION} {regularization:g}",
        hint=f"set a larger {TEXT_REGULARIZATION}",
    )
    try:
        core = cho_factor(texts.T @ texts + regularization * np.eye(texts.shape[1]), lower=True)
    except np.linalg.LinAlgError as error:
        raise small from error
    left = 1 - (cho_solve(core, texts.T).T * texts).sum(axis=1)  # λ_F diag(P) [I]
    if not (left > SMALLEST).all():
        raise small
    return TextWeights(core, 1 / left)
