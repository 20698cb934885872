"""The shipped baselines compute what their docstrings say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from glta_baselines.ease import Ease
from glta_baselines.popularity import Popularity
from glta_baselines.settings import EaseSettings, NoSettings

from glta_cli.plugin import BaselineData, Interactions


def data(train: Interactions) -> BaselineData:
    none = Interactions.from_pairs([], [], user_count=train.user_count, item_count=train.item_count)
    return BaselineData(train=train, validation=none, texts=None, seed=0, device=torch.device("cpu"))


def test_popularity_counts_training_interactions() -> None:
    train = Interactions.from_pairs([0, 1, 2, 0, 1, 0], [3, 3, 3, 1, 1, 0], user_count=3, item_count=5)
    baseline = Popularity(NoSettings())
    scores = baseline.scorer(baseline.fit(data(train)), train)(np.array([2, 0]))
    assert scores.tolist() == [[1, 2, 0, 3, 0]] * 2


@pytest.mark.parametrize("regularization", [0.5, 30.0])
def test_ease_is_a_ridge_regression_of_each_item_on_the_others(
    random_interactions: Callable[..., Interactions], regularization: float
) -> None:
    train = random_interactions(40, 12)
    histories = np.zeros((40, 12))
    histories[train.users, train.items] = 1
    expected = np.zeros((12, 12))
    for item in range(12):
        # Without the item's own column, its weight on itself is zero.
        others = np.delete(np.arange(12), item)
        features = histories[:, others]  # [U, I - 1]
        gram = features.T @ features + regularization * np.eye(11)
        expected[others, item] = np.linalg.solve(gram, features.T @ histories[:, item])

    baseline = Ease(EaseSettings(regularization=regularization))
    learnt = baseline.fit(data(train))
    np.testing.assert_allclose(learnt["weights"], expected, atol=1e-6)
    assert not learnt["weights"].diagonal().any()
    users = np.array([39, 0, 7])
    np.testing.assert_allclose(baseline.scorer(learnt, train)(users), histories[users] @ expected, atol=1e-5)


def test_ease_takes_items_nobody_met() -> None:
    train = Interactions.from_pairs([0, 0, 1], [0, 1, 1], user_count=3, item_count=4)
    baseline = Ease(EaseSettings(regularization=1.0))
    scores = baseline.scorer(baseline.fit(data(train)), train)(np.arange(3))
    assert np.isfinite(scores).all()
    assert not scores[:, 2:].any()
    assert not scores[2].any()
    # P = [[3, -1], [-1, 2]] / 5 is the inverse of [[2, 1], [1, 3]]: B[0, 1] = 1/2, B[1, 0] = 1/3.
    np.testing.assert_allclose(scores[:2, :2], [[1 / 3, 1 / 2], [1 / 3, 0]], atol=1e-6)
