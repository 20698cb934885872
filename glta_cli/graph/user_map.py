"""A linear map from the items of somebody no training has met to a vector as users have it; NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class UserMap:
    """What a linear map, found among known users, makes of the mean of an item history's vectors.

    Source: Paterek, Improving regularized singular value decomposition for collaborative filtering, KDD Cup 2007: a
    user is what the items it rated are.

    Attributes:
        weight: [d, d].
        intercept: [d].
        mean: of all known users, float32 [d]: what somebody without an item is.
        unit: whether known users, and so others too, have unit length.
    """

    weight: NDArray[np.floating]
    intercept: NDArray[np.floating]
    mean: Vectors
    unit: bool

    def vectors_of(self, means: Vectors, met: NDArray[np.bool_]) -> Vectors:
        """Vectors of people, float32 [m, d].

        Args:
            means: of the vectors of each one's items, [m, d].
            met: who has any, [m].
        """
        found = np.tile(self.mean, (len(means), 1))
        found[met] = means[met].astype(np.float64) @ self.weight.T + self.intercept
        if self.unit:
            found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
        return found
