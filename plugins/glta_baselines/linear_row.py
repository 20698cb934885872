"""What every row of item-item weights does: choose its numbers, solve, score."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from hashlib import blake2b
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from glta_baselines.choice import ONE_TWO_FIVE, Ladder, begun, chosen_once, nearest, unchosen
from glta_baselines.histories import SCORING_SETTINGS, histories_of
from glta_baselines.ridge_inverse import BLOCK, Correction, RidgeInverse
from glta_baselines.shared_inverse import content_of, release_inverse, shared_inverse
from glta_cli.plugin import BaselineData, GltaError, Interactions, LinearTerm, Scorer

EASE = "ease"
REGULARIZATION = "regularization"
# Regularization over the mean weight of an item's interactions, near which the best ones of several datasets lie.
USUAL_RATIO = 4.0
# A catalogue of more items is solved for a few times only, for each time is minutes.
LARGE_CATALOGUE = 10_000
BYTES_A_PAIR = 12
MOST_OF_A_LARGE_ONE = 3  # values beside the first


class LinearRow:
    """score[u] = X[u] B with B from P = (X^T X + λ I)^-1, X the histories [U, I]: weights, or 1 where there are none.

    Settings that are `auto` are chosen by the NDCG@10 of validation items: those of the texts from where they usually
    are, then λ, from four times what an item's interactions weigh in the mean, then those of the texts again. Each
    further λ costs a Cholesky decomposition, a number of the texts next to none: what they change is of low rank.

    In a catalogue of more than 10,000 items four values of λ are tried, and those of the texts once. Rows that are
    solved with EASE take the λ that is best for EASE alone there, and its P: all of them together cost little more than
    one. P stays, in 8 bytes for each pair of items, until the log is let go, or a row is fitted that has no use for it.

    Memory is 12 bytes for each pair of items while it is fitted, that P among them, and 4 afterwards.
    """

    uses_seed = False
    scoring_settings = SCORING_SETTINGS
    uses_weights = True
    # The row that is named where it is too large.
    smaller: ClassVar[str] = "elsa"

    name: ClassVar[str]
    regularization_unchosen: ClassVar[float]
    text_ladders: ClassVar[Mapping[str, Ladder]] = {}
    # Whether its P is EASE's: what texts add stands beside the Gram matrix, not in it.
    solved_with_ease: ClassVar[bool] = False

    def __init__(self, settings: BaseModel | None) -> None:
        self.settings: Any = settings

    def bytes_to_fit(self, user_count: int, item_count: int) -> int:
        """Of memory: a Gram matrix of double precision, and the weights."""
        return BYTES_A_PAIR * item_count**2

    def fit(self, data: BaselineData) -> dict[str, NDArray[Any]]:
        """`weights`, B, float32 [I, I], and each number that was chosen by the name of its setting."""
        texts = self._texts(data)
        if not self._shares(data.train):
            release_inverse()
        numbers = {name: getattr(self.settings, name) for name in (REGULARIZATION, *self.text_ladders)}
        automatic = [name for name, value in numbers.items() if value == "auto"]
        if automatic:
            numbers = self._chosen(data, texts, numbers, automatic)
        weights = self.weights(self._inverse(data.train), texts, numbers)
        return {"weights": weights, **{name: np.array(numbers[name]) for name in automatic}}

    def scorer(self, learnt: Mapping[str, NDArray[Any]], train: Interactions) -> Scorer:
        return linear_scorer(learnt["weights"], train, self.settings.recency)

    def term(self, learnt: Mapping[str, NDArray[Any]], histories: Interactions) -> LinearTerm:
        return LinearTerm(learnt["weights"], self.settings.recency)

    # ------------------------------------------------------------------------------------- what a row may change

    def correction(
        self, inverse: RidgeInverse, texts: NDArray[np.float64] | None, numbers: Mapping[str, float]
    ) -> Correction | None:
        """What the texts [I, D] make of EASE's weights; None for nothing.

        Raises:
            GltaError: with these numbers a matrix cannot be inverted.
        """
        return None

    def weights(
        self, inverse: RidgeInverse, texts: NDArray[np.float64] | None, numbers: Mapping[str, float]
    ) -> NDArray[np.float32]:
        """B, float32 [I, I]."""
        inverse.solve(numbers[REGULARIZATION])
        return inverse.weights(self.correction(inverse, texts, numbers))

    # --------------------------------------------------------------------------------------------------- choice

    def _texts(self, data: BaselineData) -> NDArray[np.float64] | None:
        """The text vectors [I, D] of a row that reads them."""
        if not self.text_ladders:
            return None
        if data.text_vectors is None:
            raise GltaError(f"{self.name} needs the vectors of item texts")
        return data.text_vectors.astype(np.float64)

    def _chosen(
        self,
        data: BaselineData,
        texts: NDArray[np.float64] | None,
        numbers: Mapping[str, Any],
        automatic: list[str],
    ) -> dict[str, float]:
        """All numbers, those that are automatic chosen on validation."""
        ladders = {REGULARIZATION: self._regularization_ladder(data.train), **self.text_ladders}
        if data.quality is None:
            return {**numbers, **unchosen(self.name, automatic, ladders)}
        if data.train.item_count <= LARGE_CATALOGUE:
            return self._climbed(data, texts, numbers, automatic, ladders)
        read = b"" if texts is None else texts.tobytes()
        source = (*choice_source(data), tuple(numbers.items()), blake2b(read).digest())
        choose = self._chosen_with_ease if self.solved_with_ease else self._climbed
        return chosen_once(self.name, automatic, source, partial(choose, data, texts, numbers, automatic, ladders))

    def _climbed(
        self,
        data: BaselineData,
        texts: NDArray[np.float64] | None,
        numbers: Mapping[str, Any],
        automatic: list[str],
        ladders: Mapping[str, Ladder],
    ) -> dict[str, float]:
        """The numbers of a row with a Gram matrix of its own."""
        climb = begun(self.name, Trials(self, data, texts).quality, numbers, automatic, ladders)
        of_texts = [name for name in automatic if name != REGULARIZATION]
        large = data.train.item_count > LARGE_CATALOGUE
        climb.all_along(of_texts, ladders)
        if REGULARIZATION in automatic:
            moved = climb.along(REGULARIZATION, ladders[REGULARIZATION].values, MOST_OF_A_LARGE_ONE if large else None)
            if moved and not large:
                climb.all_along(of_texts, ladders)
        climb.tell(automatic)
        return climb.numbers

    def _chosen_with_ease(
        self,
        data: BaselineData,
        texts: NDArray[np.float64] | None,
        numbers: Mapping[str, Any],
        automatic: list[str],
        ladders: Mapping[str, Ladder],
    ) -> dict[str, float]:
        """λ that is best for EASE alone, and with it, on the P that is shared, the numbers of the texts."""
        numbers = dict(numbers)
        if REGULARIZATION in automatic:
            numbers |= chosen_once(
                EASE, [REGULARIZATION], choice_source(data), lambda: chosen_for_ease(data, ladders[REGULARIZATION])
            )
        of_texts = [name for name in automatic if name != REGULARIZATION]
        if not of_texts:
            return numbers
        trials = Trials(self, data, texts, self._inverse(data.train))
        climb = begun(self.name, trials.quality, numbers, of_texts, ladders)
        climb.all_along(of_texts, ladders)
        climb.tell(automatic)
        return climb.numbers

    # ------------------------------------------------------------------------------------------------- solution

    def _shares(self, train: Interactions) -> bool:
        """Whether it is made of a P that other rows of this log are made of too."""
        return self.solved_with_ease and train.item_count > LARGE_CATALOGUE

    def _inverse(self, train: Interactions) -> RidgeInverse:
        def counted() -> RidgeInverse:
            return RidgeInverse(item_counts(train))

        return shared_inverse(train, counted) if self._shares(train) else counted()

    def _regularization_ladder(self, train: Interactions) -> Ladder:
        squares = len(train) if train.weights is None else float(np.square(train.weights, dtype=np.float64).sum())
        start = nearest(ONE_TWO_FIVE, USUAL_RATIO * squares / train.item_count) if squares else 1.0
        return Ladder(ONE_TWO_FIVE, start, self.regularization_unchosen)


class Trials:
    """How well a row ranks validation items with given numbers; weights are made anew where λ is another one.

    In single precision, which ranks alike: a trial takes half the time, and 8 bytes a pair of items.

    Args:
        inverse: to try with in place of one of single precision.
    """

    def __init__(
        self,
        row: LinearRow,
        data: BaselineData,
        texts: NDArray[np.float64] | None,
        inverse: RidgeInverse | None = None,
    ) -> None:
        self.row, self.data, self.texts = row, data, texts
        self.inverse = inverse or RidgeInverse(item_counts(data.train, np.float32))
        self._weights: NDArray[np.float32] | None = None
        self._regularization: float | None = None

    def quality(self, numbers: Mapping[str, float]) -> float:
        """Validation NDCG@10; minus infinity where a matrix cannot be inverted."""
        assert self.data.quality is not None
        try:
            weights = self._weights_of(numbers[REGULARIZATION])
            correction = self.row.correction(self.inverse, self.texts, numbers)
        except GltaError:
            return -np.inf
        if correction is None:
            return self.data.quality(linear_scorer(weights, self.data.train, 1.0))
        return self.data.quality(correction.scorer(weights, self.data.train))

    def _weights_of(self, regularization: float) -> NDArray[np.float32]:
        """EASE's own, [I, I]."""
        if self._weights is None or regularization != self._regularization:
            self._weights = None  # the memory for those that follow
            self.inverse.solve(regularization)
            self._weights, self._regularization = self.inverse.weights(), regularization
        return self._weights


def chosen_for_ease(data: BaselineData, ladder: Ladder) -> dict[str, float]:
    """λ with which EASE ranks validation items best, of a few values."""
    release_inverse()
    # A row without texts is EASE.
    climb = begun(EASE, Trials(LinearRow(None), data, None).quality, {}, [REGULARIZATION], {REGULARIZATION: ladder})
    climb.along(REGULARIZATION, ladder.values, MOST_OF_A_LARGE_ONE)
    climb.tell([REGULARIZATION])
    return climb.numbers


def choice_source(data: BaselineData) -> tuple[bytes, bytes]:
    """What EASE's choice follows from: the log and its validation."""
    return content_of(data.train), content_of(data.validation)


def item_counts(train: Interactions, dtype: Any = np.float64) -> NDArray[Any]:
    """X^T X: users two items have in common, by what they weigh, [I, I]."""
    histories = histories_of(train)  # [U, I]
    transposed = histories.T.tocsr()
    counts = np.empty((train.item_count, train.item_count), dtype=dtype)
    # Rows at a time: where most items have users in common, the sparse product is larger than what it fills.
    for start in range(0, len(counts), BLOCK):
        counts[start : start + BLOCK] = (transposed[start : start + BLOCK] @ histories).toarray()
    return counts


def linear_scorer(weights: NDArray[np.float32], train: Interactions, recency: float) -> Scorer:
    """Histories, of which older items weigh less, times weights [I, I]."""
    histories = histories_of(train, recency)
    return lambda users: histories[users] @ weights  # [B, I]
