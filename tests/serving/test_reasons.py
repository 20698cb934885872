"""Reasons: parts of a linear score add up to it, and what is left over is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

from glta_cli.plugin.interactions import Interactions
from glta_cli.serving.fusion import fuse_terms
from glta_cli.serving.linear_term import ItemWeights, linear_scorer, shares_in
from glta_cli.serving.reasons import (
    EXACT,
    LEFT_OUT,
    TermReasons,
    by_item,
    histories_without,
    linear_contributions,
    share_of,
)

ITEMS = 30


def item_weights(*, sparse: bool) -> ItemWeights:
    generator = np.random.default_rng(0)
    drawn = generator.normal(size=(ITEMS, ITEMS)).astype(np.float32)
    if not sparse:
        return ItemWeights(drawn)
    drawn[generator.random(drawn.shape) < 0.7] = 0
    rows = csr_array(drawn)
    return ItemWeights(None, rows.indptr.astype(np.int64), rows.indices, rows.data)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("recency", [1.0, 0.6])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_parts_of_a_linear_score_add_up_to_it(sparse: bool, recency: float, weighted: bool) -> None:
    generator = np.random.default_rng(1)
    items = generator.permutation(ITEMS)[:9]
    own = generator.uniform(0.5, 3, 9).astype(np.float32) if weighted else None
    history = Interactions(np.array([0, 9]), items, ITEMS, own)
    weights = item_weights(sparse=sparse)
    targets = np.array([3, 29, 0, 11])

    parts = linear_contributions(weights, items, shares_in(history, recency), targets)

    scores = linear_scorer(weights, recency, history)(np.array([0]))[0]
    assert parts.shape == (9, 4)
    assert parts.dtype == np.float32
    assert_allclose(parts.sum(axis=0), scores[targets], rtol=1e-5, atol=1e-5)


def test_parts_and_what_is_left_over_add_up_to_a_sum_of_terms() -> None:
    generator = np.random.default_rng(2)
    items = generator.permutation(ITEMS)[:6]
    history = Interactions(np.array([0, 6]), items, ITEMS)
    weights, targets = item_weights(sparse=False), np.array([7, 1])
    linear = linear_scorer(weights, 1.0, history)(np.array([0]))
    other = generator.normal(3, 2, (1, ITEMS)).astype(np.float32)
    fused = fuse_terms([linear, other], np.array([[0.7, 0.2]], dtype=np.float32))[0, targets]

    share = share_of(linear[0], 0.7)
    parts = np.float32(share.scale) * linear_contributions(weights, items, shares_in(history, 1.0), targets)
    rest = share_of(other[0], 0.2).of(other[0, targets])

    assert_allclose(parts.sum(axis=0) + share.constant + rest, fused, rtol=1e-5, atol=1e-5)
    by_difference = TermReasons("ease", LEFT_OUT, share.of(linear[0, targets]), parts)
    exact = TermReasons("ease", EXACT, share.of(linear[0, targets]), parts, share.constant)
    # Of all items the same: it changes no order.
    assert_allclose(by_difference.rest, exact.rest, rtol=1e-4, atol=1e-5)


def test_a_term_that_scores_everything_the_same_does_nothing() -> None:
    same = np.full(ITEMS, 0.1, dtype=np.float32)
    assert_array_equal(share_of(same, 2.0).of(same), np.zeros(ITEMS))
    assert_array_equal(share_of(same, None).of(same), same)


def test_an_item_met_twice_has_both_its_parts() -> None:
    parts = np.arange(8, dtype=np.float32).reshape(4, 2)
    found = by_item(parts, np.array([5, 2, 5, 9]), np.array([9, 2, 5]))
    assert_array_equal(found, [[6, 7], [2, 3], [4, 6]])


def test_histories_are_left_without_each_item_in_turn() -> None:
    weights = np.array([1, 2, 3, 4], dtype=np.float32)
    history = Interactions(np.array([0, 4]), np.array([5, 2, 5, 9]), ITEMS, weights)
    [without] = histories_without(history, np.array([9, 5]))
    found: list[Any] = [without.of(user).tolist() for user in range(2)]
    assert found == [[5, 2, 5], [2, 9]]
    assert without.weights is not None
    assert without.weights.tolist() == [1, 2, 3, 2, 4]
