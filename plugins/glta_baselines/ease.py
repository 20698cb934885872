"""EASE, from histories alone and with item texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

from glta_baselines.choice import ONE_TWO_FIVE, Ladder
from glta_baselines.linear_row import REGULARIZATION, LinearRow
from glta_baselines.ridge_inverse import BLOCK, Correction, RidgeInverse
from glta_cli.plugin import GltaError


class Ease(LinearRow):
    """A linear autoencoder over histories that may not copy an item onto itself, solved in closed form.

    score[u] = X[u] B,  B = I - P diag(P)^-1,  P = (X^T X + λ I)^-1,  X the histories [U, I]: weights, or 1 where
    there are none. Weights enter as they are, so that λ is to an interaction of weight 1 what it is without weights.

    B minimises |X - X B|² + λ |B|² with a diagonal of zeros. Time grows with I³. Memory is 12 bytes for each pair of
    items while it is fitted, and 4 afterwards: B is dense, and only the rows of items in nobody's history, which a
    k-core has none or few of, could be left out. In a large catalogue other rows find P where EASE left it
    (`LinearRow`). Where `recency` is below 1, older items weigh less in the X that is
    scored; B stays.

    Source: Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019, equation 8.
    """

    name = "ease"
    regularization_unchosen = 300.0
    solved_with_ease = True


class EaseText(LinearRow):
    """EASE in which every direction of the text vectors is one more user.

    The histories X are stacked on a·T^T, T the text vectors of unit length [I, D]; P = (X^T X + a² T T^T + λ I)^-1.
    Items that share words then predict each other even where no user has met both.

    Source: Steck, WWW 2019, equation 8, with side information stacked as in Jeunen, Van Balen and Goethals,
    Closed-Form Models for Collaborative Filtering with Side-Information, RecSys 2020.
    """

    name = "ease-text"
    needs_text_vectors = True
    smaller = "elsa-text"
    regularization_unchosen = 100.0
    text_ladders: ClassVar = {"text_weight": Ladder((0.0, *ONE_TWO_FIVE), start=5.0, unchosen=5.0)}

    def correction(
        self, inverse: RidgeInverse, texts: NDArray[np.float64] | None, numbers: Mapping[str, float]
    ) -> Correction | None:
        """P less (P T) (I / a² + T^T P T)^-1 (P T)^T, by the identity of Woodbury, and its weights."""
        assert texts is not None
        if not numbers["text_weight"]:
            return None
        by_texts = inverse.times(texts)  # P T [I, D]
        core = texts.T @ by_texts + np.eye(texts.shape[1]) / numbers["text_weight"] ** 2  # [D, D]
        try:
            factor = cholesky(core, lower=True)
        except np.linalg.LinAlgError as error:
            raise GltaError(f"the texts outweigh all else with text_weight {numbers['text_weight']:g}") from error
        lost = solve_triangular(factor, by_texts.T, lower=True).T  # W [I, D], P - W W^T
        diagonal = inverse.diagonal - np.square(lost).sum(axis=1)  # [I]
        return Correction(inverse.diagonal / diagonal, lost, lost / diagonal[:, None])

    def weights(
        self, inverse: RidgeInverse, texts: NDArray[np.float64] | None, numbers: Mapping[str, float]
    ) -> NDArray[np.float32]:
        """B of the stacked matrix, float32 [I, I]."""
        assert texts is not None
        rows = texts * numbers["text_weight"]  # a·T [I, D]
        gram = inverse.restored()
        for start in range(0, len(gram), BLOCK):
            gram[start : start + BLOCK] += rows[start : start + BLOCK] @ rows.T
        return item_weights(gram, numbers[REGULARIZATION])


def item_weights(gram: NDArray[np.float64], regularization: float) -> NDArray[np.float32]:
    """EASE's weights of a Gram matrix [I, I], which is overwritten: float32 [I, I].

    Raises:
        GltaError: with so little regularization the matrix cannot be inverted in double precision.
    """
    inverse = RidgeInverse(gram)
    inverse.solve(regularization)
    return inverse.weights()
