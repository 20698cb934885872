"""The shipped baselines where interactions have weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from glta_baselines.ease import Ease, EaseText
from glta_baselines.ials import Ials
from glta_baselines.item_knn import ItemKnn
from glta_baselines.popularity import Popularity
from glta_baselines.settings import (
    EaseSettings,
    EaseTextSettings,
    IalsSettings,
    ItemKnnSettings,
    NoSettings,
    TextOnlySettings,
)
from glta_baselines.text_only import TextOnly

from glta_cli.plugin import BaselineData, Interactions
from glta_cli.plugin.registry import installed

EVERYONE = np.arange(8)


def drawn(weighted: bool | float) -> Interactions:
    generator = np.random.default_rng(0)
    users, items = np.nonzero(generator.random((8, 6)) < 0.5)
    weights = generator.uniform(0.5, 4, len(users)).astype(np.float32) if weighted is True else None
    if isinstance(weighted, float):
        weights = np.full(len(users), weighted, dtype=np.float32)
    return Interactions.from_pairs(users, items, user_count=8, item_count=6, weights=weights)


def dense(train: Interactions) -> np.ndarray:
    histories = np.zeros((8, 6))
    histories[train.users, train.items] = 1 if train.weights is None else train.weights
    return histories


def scores(baseline: Any, train: Interactions) -> np.ndarray:
    vectors = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    none = Interactions.from_pairs([], [], user_count=8, item_count=6)
    data = BaselineData(train, none, texts=None, seed=0, device=torch.device("cpu"), text_vectors=vectors)
    return baseline.scorer(baseline.fit(data), train)(EVERYONE)


BASELINES = [
    Popularity(NoSettings()),
    ItemKnn(ItemKnnSettings(shrink=2.0)),
    Ease(EaseSettings(regularization=2.0)),
    EaseText(EaseTextSettings(regularization=2.0)),
    TextOnly(TextOnlySettings()),
    Ials(IalsSettings(dimension=3, iterations=3)),
]


@pytest.mark.parametrize("baseline", BASELINES, ids=lambda baseline: type(baseline).__name__)
def test_weights_change_the_ranking_and_weights_of_one_do_not(baseline):
    plain = scores(baseline, drawn(False))
    np.testing.assert_array_equal(scores(baseline, drawn(1.0)), plain)
    assert np.abs(scores(baseline, drawn(True)) - plain).max() > 1e-3


def test_every_shipped_baseline_says_that_it_uses_weights():
    shipped = [c for c in installed().of_kind("baseline") if c.origin.distribution == "glta"]
    assert {type(baseline) for baseline in BASELINES} <= {component.target() for component in shipped}
    assert all(component.target().uses_weights for component in shipped)


def test_popularity_is_what_an_items_interactions_weigh():
    train = drawn(True)
    np.testing.assert_allclose(scores(Popularity(NoSettings()), train)[3], dense(train).sum(axis=0), rtol=1e-6)


def test_ease_solves_for_weighted_histories():
    train = drawn(True)
    histories = dense(train)
    inverse = np.linalg.inv(histories.T @ histories + 2.0 * np.eye(6))
    expected = np.eye(6) - inverse / inverse.diagonal()
    found = scores(Ease(EaseSettings(regularization=2.0)), train)
    np.testing.assert_allclose(found, histories @ expected, atol=1e-5)


def test_item_knn_compares_weighted_columns():
    train = drawn(True)
    histories = dense(train)
    lengths = np.linalg.norm(histories, axis=0)
    similar = histories.T @ histories / (np.outer(lengths, lengths) + 2.0)
    np.fill_diagonal(similar, 0)
    found = scores(ItemKnn(ItemKnnSettings(shrink=2.0)), train)
    np.testing.assert_allclose(found, histories @ similar, rtol=1e-5)
