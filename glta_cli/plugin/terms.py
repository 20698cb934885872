"""Terms of the served score: the forms in which a row can be kept in an index and answer for anyone from there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from scipy.sparse import csr_array


@dataclass(frozen=True, eq=False)
class LinearTerm:
    """Scores are a user's history times item-item weights: score[u] = X[u] B.

    Attributes:
        weights: B, float32 [I, I], dense or sparse.
        recency: r; in X an item weighs r^n of what the interaction does, n the newer items of the same user.
    """

    weights: NDArray[np.float32] | csr_array
    recency: float = 1.0


@dataclass(frozen=True, eq=False)
class LowRankTerm:
    """Scores are a user's history times item-item weights of low rank: score[u] = X[u] (L R^T - diag(o)).

    What a `LinearTerm` is, in memory of items times d instead of pairs of items.

    Attributes:
        sources: L, what an item of a history says, float32 [I, d].
        targets: R, what is said of an item, float32 [I, d]; the same array as `sources` where both are one.
        own: o, float32 [I]: with <L[i], R[i]> an item says nothing of itself.
        recency: r; in X an item weighs r^n of what the interaction does, n the newer items of the same user.
    """

    sources: NDArray[np.float32]
    targets: NDArray[np.float32]
    own: NDArray[np.float32]
    recency: float = 1.0


@dataclass(frozen=True, eq=False)
class VectorTerm:
    """Scores are inner products: score[u] = items users[u] + bias.

    Attributes:
        users: float32 [U, d].
        items: float32 [I, d].
        bias: float32 [I]; None for none.
    """

    users: NDArray[np.float32]
    items: NDArray[np.float32]
    bias: NDArray[np.float32] | None = None


Term = LinearTerm | LowRankTerm | VectorTerm
