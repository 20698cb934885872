"""Which items may be answered, and the best of them for some people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.scorer import Scorer
from glta_cli.ranking.top_k import mask_seen, top_k
from glta_cli.serving.diversity import Diversity, candidates_for
from glta_cli.serving.fusion import fuse_terms

PROBED: Final = 64
"""Items at which a person's scores are compared first: of nearly everybody two of them differ."""


@dataclass(frozen=True, eq=False)
class Liking:
    """Scores of all items, float32 [I], that count beside those of one person, and by how much."""

    scores: NDArray[np.float32]
    weight: float


@dataclass(frozen=True, eq=False)
class Choice:
    """What a list is put together from.

    Attributes:
        allowed: which items may stand in it, bool [I]; None for all.
        include_seen: whether what somebody has seen may stand in it.
        diversity: what tells items that are like those above them from others; None for the ranking itself.
        liking: scores of all items beside the person's own, such as of a wish: float32 [I], or [B, I] of one each.
        liking_weight: of the liking beside the person's own scores, both standardised over the catalogue.
    """

    allowed: NDArray[np.bool_] | None = None
    include_seen: bool = False
    diversity: Diversity | None = None
    liking: NDArray[np.float32] | None = None
    liking_weight: float = 1.0

    def liking_of(self, place: int) -> Liking | None:
        """What counts beside the scores of the person at a place among those who are asked for."""
        if self.liking is None:
            return None
        return Liking(self.liking if self.liking.ndim == 1 else self.liking[place], self.liking_weight)


ALL = Choice()
"""Everything but what was seen."""


@dataclass(frozen=True, eq=False)
class Ranked:
    """One person's list.

    Attributes:
        items: int64 [n], the best first; fewer than asked for where no more are left.
        scores: float32 [n].
        by_popularity: whether the row had the same score for every item, and popularity ranked in its place.
        by_liking: whether the row had, and what counts beside it ranked alone.
    """

    items: NDArray[np.int64]
    scores: NDArray[np.float32]
    by_popularity: bool = False
    by_liking: bool = False


def best_of(
    score: Scorer,
    users: NDArray[np.int64],
    k: int,
    choice: Choice,
    seen: Interactions,
    *never: Interactions,
    popularity: Callable[[], NDArray[np.float32]] | None = None,
) -> list[Ranked]:
    """The k best items of each of some users, [B].

    Args:
        seen: what each has seen.
        never: what is never in a list, as if it was seen.
        popularity: gives scores of all items, [I], for whom the row has the same score everywhere, so that it would
            rank by the order of the catalogue; None leaves such a row as it is.
    """
    scores = score(users)  # [B, I]
    untold = [] if choice.liking is None else _scored_alike(scores)
    if choice.liking is not None:
        weights = np.tile(np.array([1, choice.liking_weight], dtype=np.float32), (len(users), 1))  # [B, 2]
        scores = fuse_terms([scores, np.broadcast_to(choice.liking, scores.shape)], weights)
    unknown = [] if popularity is None else _scored_alike(scores)
    if popularity is not None and unknown:
        scores[unknown] = popularity()
    mask_seen(scores, users, *(() if choice.include_seen else (seen,)), *never)
    if choice.allowed is not None:
        scores[:, ~choice.allowed] = -np.inf
    diversity = choice.diversity
    ranked = top_k(scores, k if diversity is None else candidates_for(k))  # [B, k], or more to choose from
    kept = np.take_along_axis(scores, ranked, axis=1)
    best = [
        Ranked(items[found], values[found], place in unknown, place in untold and place not in unknown)
        for place, (items, values, found) in enumerate(zip(ranked, kept, kept > -np.inf, strict=True))
    ]
    return best if diversity is None else [_diverse(each, k, diversity) for each in best]


def _scored_alike(scores: NDArray[np.float32]) -> list[int]:
    """The rows of scores [B, I] in which all items have the same score; none where there is but one item."""
    items = scores.shape[1]
    if items < 2:
        return []
    few = scores[:, :: -(-items // PROBED)]  # [B, at most PROBED]
    alike = np.flatnonzero((few == few[:, :1]).all(axis=1))
    return [int(row) for row in alike if (scores[row] == scores[row, 0]).all()]


def _diverse(best: Ranked, k: int, diversity: Diversity) -> Ranked:
    places = diversity.places(best.items, best.scores, k)
    return replace(best, items=best.items[places], scores=best.scores[places])
