"""ItemKNN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from glta_baselines.choice import ONE_TWO_FIVE, Ladder, begun, unchosen
from glta_baselines.histories import SCORING_SETTINGS, histories_of
from glta_baselines.settings import ItemKnnSettings
from glta_cli.plugin import BaselineData, Interactions, LinearTerm, Scorer, counted

# Items whose similarities to all others are held at once.
BLOCK = 512
LADDERS = {
    "neighbours": Ladder((20, 50, 100, 200, 400, 800), start=100, unchosen=100),
    "shrink": Ladder((0.0, *ONE_TWO_FIVE), start=10.0, unchosen=10.0),
}
# In a catalogue of more items similarities take so long that few, or none, are tried beside the first.
LARGE_CATALOGUE, LARGEST_CHOSEN = 10_000, 40_000
MOST_OF_A_LARGE_ONE = 2


class ItemKnn:
    """The k most similar items of each item vote for it.

    score[u] = X[u] S^T,  S[i, j] = c[i, j] / (|c_i| |c_j| + shrink) for the k largest j of each i, 0 elsewhere and at
    i = j; c = X^T X counts users in common, |c_i| = √c[i, i], X the histories [U, I]: weights, or 1 where there are
    none. Scores take X with older items weighing less where `recency` is below 1.

    Source: Sarwar et al., Item-Based Collaborative Filtering Recommendation Algorithms, WWW 2001; the shrinkage from
    Bell and Koren, Scalable Collaborative Filtering with Jointly Derived Neighborhood Interpolation Weights, ICDM 2007.
    """

    uses_seed = False
    scoring_settings = SCORING_SETTINGS
    uses_weights = True

    def __init__(self, settings: ItemKnnSettings) -> None:
        self.settings = settings

    def fit(self, data: BaselineData) -> dict[str, NDArray[Any]]:
        """S in compressed rows: `indptr` int64 [I + 1], `items` int32 [n], `similarities` float32 [n].

        And each number that was chosen by the name of its setting.
        """
        numbers = {name: getattr(self.settings, name) for name in LADDERS}
        automatic = [name for name, value in numbers.items() if value == "auto"]
        if automatic:
            numbers = self._chosen(data, numbers, automatic)
        learnt = similarities(data.train, int(numbers["neighbours"]), numbers["shrink"])
        return {**learnt, **{name: np.array(numbers[name]) for name in automatic}}

    def _chosen(self, data: BaselineData, numbers: Mapping[str, Any], automatic: list[str]) -> dict[str, float]:
        """All numbers, those that are automatic chosen on validation."""
        quality, items = data.quality, data.train.item_count
        if quality is None:
            return {**numbers, **unchosen("item-knn", automatic, LADDERS)}
        if items > LARGEST_CHOSEN:
            why = f"each trial would be a fit of {counted(items, 'item')}"
            return {**numbers, **unchosen("item-knn", automatic, LADDERS, why)}
        histories = histories_of(data.train)

        def reached(tried: Mapping[str, float]) -> float:
            similar = _similar(similarities(data.train, int(tried["neighbours"]), tried["shrink"]))
            return quality(_scorer(histories, similar))

        climb = begun("item-knn", reached, numbers, automatic, LADDERS)
        # Shrinkage first: it moves further from where it starts.
        climb.all_along(automatic[::-1], LADDERS, MOST_OF_A_LARGE_ONE if items > LARGE_CATALOGUE else None)
        climb.tell(automatic)
        return climb.numbers

    def scorer(self, learnt: Mapping[str, NDArray[Any]], train: Interactions) -> Scorer:
        return _scorer(histories_of(train, self.settings.recency), _similar(learnt))

    def term(self, learnt: Mapping[str, NDArray[Any]], histories: Interactions) -> LinearTerm:
        return LinearTerm(_similar(learnt).T.tocsr(), self.settings.recency)


def _similar(learnt: Mapping[str, NDArray[Any]]) -> csr_array:
    """S, float32 [I, I]."""
    count = len(learnt["indptr"]) - 1
    return csr_array((learnt["similarities"], learnt["items"], learnt["indptr"]), shape=(count, count))


def _scorer(histories: csr_array, similar: csr_array) -> Scorer:
    return lambda users: (histories[users] @ similar.T).toarray()  # [B, I]


def similarities(train: Interactions, neighbours: int, shrink: float) -> dict[str, NDArray[Any]]:
    """S with so many neighbours of each item, and so much shrinkage, in compressed rows as `fit` returns them."""
    histories = histories_of(train)  # [U, I]
    transposed = histories.T.tocsr()
    lengths = np.sqrt(np.asarray(histories.multiply(histories).sum(axis=0)).ravel())  # |c_i| [I]
    kept = [
        _nearest((transposed[start : start + BLOCK] @ histories).toarray(), lengths, start, neighbours, shrink)
        for start in range(0, train.item_count, BLOCK)
    ]
    counts = np.concatenate([count for count, _, _ in kept])
    return {
        "indptr": np.concatenate([[0], np.cumsum(counts)]),
        "items": np.concatenate([items for _, items, _ in kept]).astype(np.int32),
        "similarities": np.concatenate([similar for _, _, similar in kept]),
    }


def _nearest(
    common: NDArray[np.float32], lengths: NDArray[np.float32], start: int, neighbours: int, shrink: float
) -> tuple[NDArray[Any], ...]:
    """The k largest of each row of counts [B, I], items from `start` on: how many, which, and their similarity."""
    rows = np.arange(len(common))
    similar = common / np.maximum(np.outer(lengths[start + rows], lengths) + shrink, 1e-12)
    similar[rows, start + rows] = 0
    # Ties in the order of the items: the same on every machine.
    best = np.argsort(-similar, axis=1, kind="stable")[:, :neighbours]
    values = np.take_along_axis(similar, best, axis=1)
    found = values > 0
    return found.sum(axis=1), best[found], values[found].astype(np.float32)
