"""Item-item weights from the inverse of a Gram matrix, for one regularization after another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import get_blas_funcs, get_lapack_funcs

from glta_baselines.histories import histories_of
from glta_cli.plugin import GltaError, Interactions, Scorer, counted

# Rows of a Gram matrix that are worked on at once, so that little stands beside it.
BLOCK = 256


@dataclass(frozen=True, eq=False)
class Correction:
    """What item texts make of EASE's weights B: B diag(scale) + left right^T, and zeros on the diagonal.

    Attributes:
        scale: float64 [I].
        left, right: float64 [I, D].
    """

    scale: NDArray[np.float64]
    left: NDArray[np.float64]
    right: NDArray[np.float64]

    def scorer(self, weights: NDArray[np.float32], train: Interactions) -> Scorer:
        """The scores of corrected weights, without making them: right for all items but those of the history itself.

        Args:
            weights: EASE's own, B [I, I].
        """
        histories = histories_of(train)
        scale = self.scale.astype(np.float32)
        left = self.left.astype(np.float32)  # [I, D]
        right = np.ascontiguousarray(self.right.T, dtype=np.float32)  # [D, I]

        def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
            own = histories[users]  # [B, I]
            scores: NDArray[np.float32] = own @ weights
            scores *= scale
            scores += (own @ left) @ right
            return scores

        return score


class RidgeInverse:
    """P = (G + λ I)^-1 for one λ after another, in the place of the Gram matrix G.

    By Cholesky: half the arithmetic of an LU decomposition, in place, and in one triangle, beside which G stays in the
    other. What is made of P takes 4 bytes a pair of items more.

    Args:
        gram: G, symmetric [I, I], of double or single precision, which all that is computed has; taken over.
    """

    def __init__(self, gram: NDArray[Any]) -> None:
        self._matrix = gram  # G below the diagonal, and above it G or P
        self._upper = gram
        self._diagonal = gram.diagonal().copy()  # of G
        self._overwritten = False
        self._regularization: float | None = None
        self._product: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
        self._factorise, self._invert = get_lapack_funcs(("potrf", "potri"), (gram,))
        [self._multiply] = get_blas_funcs(("symm",), (gram,))

    def restored(self) -> NDArray[Any]:
        """G in its place again; P is lost."""
        if self._overwritten:
            for start in range(0, len(self._matrix), BLOCK):
                rows = slice(start, start + BLOCK)
                below = self._matrix[start:, rows]  # [I - start, B]
                above = np.arange(len(below)) > np.arange(below.shape[1])[:, None]  # [B, I - start]
                np.copyto(self._matrix[rows, start:], below.T.copy(), where=above)
            np.fill_diagonal(self._matrix, self._diagonal)
        self._overwritten, self._regularization, self._product = False, None, None
        return self._matrix

    def solve(self, regularization: float) -> None:
        """Put P of that λ in the place of G, unless it is there.

        Raises:
            GltaError: with so little regularization the matrix cannot be inverted in this precision.
        """
        if regularization == self._regularization:
            return
        gram = self.restored()
        gram[np.diag_indices_from(gram)] += regularization
        self._overwritten = True
        # LAPACK counts by columns: the transpose of a symmetric matrix is itself, and is taken without a copy.
        factor, failed = self._factorise(gram.T, lower=True, clean=False, overwrite_a=True)
        if not failed:
            inverse, failed = self._invert(factor, lower=True, overwrite_c=True)
        if failed:
            raise GltaError(
                f"EASE's item-item matrix of {counted(len(gram), 'item')} cannot be inverted with regularization "
                f"{regularization:g}",
                hint="set a larger regularization",
            )
        self._upper = inverse.T  # P, of which the triangle below the diagonal was not computed
        self._regularization = regularization

    @property
    def diagonal(self) -> NDArray[np.float64]:
        """Of P, [I]."""
        found: NDArray[np.float64] = self._upper.diagonal().astype(np.float64)
        return found

    def times(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """P times vectors [I, D]; computed once for each P and the same vectors."""
        if self._product is None or self._product[0] is not vectors:
            own = np.asfortranarray(vectors, dtype=self._upper.dtype)
            self._product = vectors, np.ascontiguousarray(self._multiply(1.0, self._upper.T, own, lower=1), np.float64)
        return self._product[1]

    def weights(self, correction: Correction | None = None, dtype: Any = np.float32) -> NDArray[Any]:
        """EASE's weights, -P diag(P)^-1 off the diagonal and 0 on it, or what a correction makes of them: [I, I]."""
        upper = self._upper
        scales = -upper.diagonal()
        weights = np.empty(upper.shape, dtype=dtype)
        for start in range(0, len(upper), BLOCK):
            rows = slice(start, start + BLOCK)
            block = np.triu(upper[rows, start:])
            above = block / scales[start:]  # column j by P[j, j]
            beneath = block.T / scales[rows]
            if correction is not None:
                above = above * correction.scale[start:] + correction.left[rows] @ correction.right[start:].T
                beneath = beneath * correction.scale[rows] + correction.left[start:] @ correction.right[rows].T
            weights[rows, start:] = above
            # Where a block meets its own transpose, only below the diagonal.
            below = weights[start:, rows]
            np.copyto(below, beneath, where=np.tri(len(below), below.shape[1], -1, bool), casting="same_kind")
        np.fill_diagonal(weights, 0)
        return weights
