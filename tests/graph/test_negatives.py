"""Drawn negatives: never a positive, uniform over the rest, and an end to the drawing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from glta_cli.graph import negatives as negatives_module
from glta_cli.graph.negatives import NegativeSampler
from glta_cli.plugin.interactions import Interactions

Draw = Callable[..., Interactions]


@given(st.integers(1, 9), st.integers(2, 12), st.floats(0.05, 1), st.integers(0, 1000))
def test_a_sampled_negative_is_never_a_positive(users: int, items: int, share: float, seed: int) -> None:
    rows, columns = np.nonzero(np.random.default_rng(seed).random((users, items)) < share)
    # Nobody knows the last item, so everyone has a negative.
    known = columns < items - 1
    assume(known.any())
    interactions = Interactions.from_pairs(rows[known], columns[known], user_count=users, item_count=items)
    asked = np.tile(np.arange(users), 20)
    negatives = NegativeSampler(interactions).draw(asked, np.random.default_rng(seed))
    assert negatives.min() >= 0
    assert negatives.max() < items
    for user, negative in zip(asked, negatives, strict=True):
        assert negative not in interactions.of(user)


def test_negatives_are_uniform_over_the_unknown_items(random_interactions: Draw) -> None:
    interactions = random_interactions(5, 12, share=0.4)
    each = 20_000
    asked = np.repeat(np.arange(5), each)
    negatives = NegativeSampler(interactions).draw(asked, np.random.default_rng(1)).reshape(5, each)
    for user in range(5):
        unknown = np.setdiff1d(np.arange(12), interactions.of(user))
        counts = np.bincount(negatives[user], minlength=12)[unknown]
        expected = each / len(unknown)
        # Five standard deviations of a binomial count.
        assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_a_user_who_knows_everything_does_not_stop_the_sampling() -> None:
    interactions = Interactions.from_pairs([0, 0, 0, 1], [0, 1, 2, 2], user_count=2, item_count=3)
    negatives = NegativeSampler(interactions).draw(np.array([0, 1, 0, 1]), np.random.default_rng(0))
    assert set(negatives[[1, 3]]) <= {0, 1}
    assert set(negatives) <= {0, 1, 2}


def test_without_any_interaction_every_item_is_a_negative() -> None:
    nothing = Interactions.from_pairs([], [], user_count=2, item_count=3)
    negatives = NegativeSampler(nothing).draw(np.array([0, 1] * 50), np.random.default_rng(0))
    assert set(negatives) == {0, 1, 2}


def test_with_fewer_marks_than_pairs_exactly_the_positives_are_drawn_again(
    random_interactions: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(negatives_module, "MOST_MARKS", 4)
    interactions = random_interactions(50, 40, share=0.3)
    asked = np.tile(np.arange(50), 40)
    sampler = NegativeSampler(interactions)
    assert sampler.marks.nbytes == 4
    negatives = sampler.draw(asked, np.random.default_rng(0))

    def known(items: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.array([item in interactions.of(user) for user, item in zip(asked, items, strict=True)])

    first = np.random.default_rng(0).integers(0, 40, len(asked))
    np.testing.assert_array_equal(negatives[~known(first)], first[~known(first)])
    assert not known(negatives).any()


def test_negatives_are_of_the_items_that_may_be_drawn(random_interactions: Draw) -> None:
    among = np.array([0, 2, 3, 7, 11])
    drawn = random_interactions(5, 12, share=0.5)
    kept = np.isin(drawn.items, among)
    interactions = drawn.where(kept)
    asked = np.repeat(np.arange(5), 500)
    negatives = NegativeSampler(interactions, among).draw(asked, np.random.default_rng(1))
    for user in range(5):
        unknown = set(among) - set(interactions.of(user))
        assert set(negatives[asked == user]) == (unknown or set(negatives[asked == user]))
    assert set(negatives) <= set(among)
