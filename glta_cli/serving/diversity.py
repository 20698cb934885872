"""Diversity: items that say something new beside those above them, by maximal marginal relevance.

Of the best candidates each next item is the one with the most of

    (1 − λ)·relevance(i) − λ·max over j taken of similarity(i, j)

Source: Carbonell and Goldstein, The use of MMR, diversity-based reranking for reordering documents and producing
summaries, SIGIR 1998. There both are similarities; here relevance is a score of any scale, so that both are scaled to
0..1 over the candidates, and λ means the same for every row and for all kinds of vectors. λ = 0 is the ranking itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from glta_cli.plugin.interactions import Interactions

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Similarities = Callable[[NDArray[np.int64]], NDArray[np.floating]]
"""How alike each two of some items are, whatever the scale: [n] -> [n, n]."""

CANDIDATES_AN_ITEM: Final = 10
LEAST_CANDIDATES: Final = 100
# Each two of them are compared: 80 MB. Below them a list goes on by score.
MOST_CANDIDATES: Final = 2_000
# Below it a spread is the rounding of numbers that are all the same.
NO_SPREAD: Final = 1e-6


@dataclass(frozen=True, eq=False)
class Diversity:
    """What makes lists diverse.

    Attributes:
        share: λ, above 0 and at most 1.
        similarities: of items.
    """

    share: float
    similarities: Similarities

    def places(self, items: NDArray[np.int64], scores: NDArray[np.floating], k: int) -> NDArray[np.int64]:
        """The places of those of some candidates to show, in their order: [n] each -> int64 [min(k, n)]."""
        compared = items[:MOST_CANDIDATES]
        first = diversified(scores[:MOST_CANDIDATES], self.similarities(compared), k, self.share)
        return np.concatenate([first, np.arange(len(compared), min(k, len(items)))])


def candidates_for(k: int) -> int:
    """How many of the best items a diverse list of k is chosen from."""
    return max(min(CANDIDATES_AN_ITEM * k, MOST_CANDIDATES), LEAST_CANDIDATES, k)


def diversified(
    scores: NDArray[np.floating], similarities: NDArray[np.floating], k: int, diversity: float
) -> NDArray[np.int64]:
    """The places of the k candidates to show, in their order: int64 [min(k, n)].

    Of equal ones the first is taken, so that candidates in order of their score stay in it where nothing tells them
    apart.

    Args:
        scores: of n candidates, best first, finite: [n].
        similarities: of each two of them, whatever their scale: [n, n].
        diversity: λ, 0..1.
    """
    k = min(k, len(scores))
    if diversity == 0:
        return np.arange(k, dtype=np.int64)
    relevance = (1 - diversity) * _scaled(scores.astype(np.float64))  # [n]
    likeness = diversity * _scaled(similarities.astype(np.float64), off_diagonal=True)  # [n, n]
    nearest = np.zeros(len(scores))  # to those taken, [n]
    taken = np.empty(k, dtype=np.int64)
    for place in range(k):
        taken[place] = np.argmax(relevance - nearest)
        np.maximum(nearest, likeness[taken[place]], out=nearest)
        relevance[taken[place]] = -np.inf
    return taken


def vector_similarities(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Cosines of n vectors, [n, d] -> [n, n]; 0 to a vector of zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    directions = (vectors / np.where(lengths > 0, lengths, np.inf)).astype(np.float32)
    found: NDArray[np.float32] = directions @ directions.T
    return found


class Audiences:
    """Who met each item, as vectors of items where there are no others: one number a user, 1 or 0.

    Source: Sarwar et al., Item-based collaborative filtering recommendation algorithms, WWW 2001: cosine similarity.
    """

    def __init__(self, history: Interactions) -> None:
        from scipy.sparse import csr_array

        ones = np.ones(len(history), dtype=np.float32)
        shape = (history.user_count, history.item_count)
        met = csr_array((ones, history.items, history.indptr), shape=shape).T.tocsr()  # [I, U]
        met.sum_duplicates()
        met.data[:] = 1  # however often somebody met it
        self._met: csr_array = met

    def similarities(self, items: NDArray[np.int64]) -> NDArray[np.float32]:
        """Cosines of some items [n] -> [n, n]; 0 to an item nobody met."""
        met = self._met[items]
        together = (met @ met.T).toarray()
        lengths = np.sqrt(together.diagonal())
        lengths[lengths == 0] = np.inf
        found: NDArray[np.float32] = (together / lengths[:, None] / lengths).astype(np.float32)
        return found


def _scaled(values: NDArray[np.float64], *, off_diagonal: bool = False) -> NDArray[np.float64]:
    """Values with the least of them at 0 and the greatest at 1; zeros where all are the same.

    Args:
        off_diagonal: of a matrix, the least and greatest beside its diagonal: everything is like itself.
    """
    judged = values[~np.eye(len(values), dtype=bool)] if off_diagonal else values
    if not len(judged):
        return np.zeros_like(values)
    least, greatest = judged.min(), judged.max()
    spread = greatest - least
    if not spread > NO_SPREAD * max(1.0, abs(least), abs(greatest)):
        return np.zeros_like(values)
    return (values - least) / spread
