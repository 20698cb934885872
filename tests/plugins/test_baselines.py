"""The shipped baselines compute what their docstrings say."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from glta_baselines.ease import BLOCK, Ease, EaseText, item_weights
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

from glta_cli.plugin import BaselineData, GltaError, Interactions
from glta_cli.plugin.registry import installed


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


def test_ease_is_the_same_in_blocks(
    random_interactions: Callable[..., Interactions], monkeypatch: pytest.MonkeyPatch, texts: np.ndarray
) -> None:
    given = replace(data(random_interactions(30, 12)), text_vectors=texts)
    made = (Ease(EaseSettings()), EaseText(EaseTextSettings()))
    whole = [baseline.fit(given)["weights"] for baseline in made]
    for block in (1, 5, 12):
        for module in ("ease", "ridge_inverse"):
            monkeypatch.setattr(f"glta_baselines.{module}.BLOCK", block)
        for baseline, expected in zip(made, whole, strict=True):
            np.testing.assert_allclose(baseline.fit(given)["weights"], expected, atol=1e-7)


def test_ease_says_that_too_little_regularization_leaves_no_inverse() -> None:
    # Two items that are met together: but for the regularization the Gram matrix is singular.
    train = Interactions.from_pairs([0, 0], [0, 1], user_count=1, item_count=2)
    with pytest.raises(GltaError, match=r"2 items cannot be inverted with regularization 1e-30") as told:
        Ease(EaseSettings(regularization=1e-30)).fit(data(train))
    assert told.value.hint == "set a larger regularization"


def test_ease_takes_little_memory_beside_its_gram_matrix() -> None:
    gram = np.eye(8 * BLOCK)
    tracemalloc.start()
    weights = item_weights(gram, 1.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert weights.dtype == np.float32
    # The weights, and a block at a time of what they are made from: no second matrix of double precision.
    assert peak < weights.nbytes + 0.9 * gram.nbytes


def least_squares(own: np.ndarray, others: np.ndarray, met: np.ndarray, alpha: float, regularization: float) -> None:
    """Equation 4 of Hu et al. for each row of `own`: (Y^T C Y + λ I) x = Y^T C p."""
    for row, preferences in enumerate(met):
        confidences = np.diag(1 + alpha * preferences)
        left = others.T @ confidences @ others + regularization * np.eye(others.shape[1])
        own[row] = np.linalg.solve(left, others.T @ confidences @ preferences)


@pytest.mark.parametrize(("alpha", "regularization"), [(4.0, 0.5), (0.3, 3.0)])
def test_ials_solves_for_users_and_items_in_turn(
    random_interactions: Callable[..., Interactions], alpha: float, regularization: float
) -> None:
    train = random_interactions(20, 12)
    met = np.zeros((20, 12))
    met[train.users, train.items] = 1
    baseline = Ials(IalsSettings(dimension=3, alpha=alpha, regularization=regularization, iterations=4))
    users, items = (start.astype(np.float64) for start in baseline.start(20, 12, seed=0))
    for _ in range(4):
        least_squares(users, items, met, alpha, regularization)
        least_squares(items, users, met.T, alpha, regularization)

    learnt = baseline.fit(data(train))
    np.testing.assert_allclose(learnt["users"], users, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(learnt["items"], items, rtol=1e-3, atol=1e-4)
    scores = baseline.scorer(learnt, train)(np.array([19, 0]))
    np.testing.assert_allclose(scores, (users @ items.T)[[19, 0]], rtol=1e-3, atol=1e-4)


def test_ials_settles_where_the_objective_has_no_slope(random_interactions: Callable[..., Interactions]) -> None:
    train = random_interactions(20, 12)
    met = torch.zeros(20, 12, dtype=torch.float64)
    met[train.users, train.items] = 1
    settings = IalsSettings(dimension=3, alpha=2.0, regularization=1.0, iterations=200)
    learnt = Ials(settings).fit(data(train))
    users, items = (torch.tensor(learnt[name], dtype=torch.float64, requires_grad=True) for name in ("users", "items"))
    loss = ((1 + 2.0 * met) * (met - users @ items.T).square()).sum() + users.square().sum() + items.square().sum()
    loss.backward()
    assert float(users.detach().abs().max()) > 0.1  # all zeros have no slope either
    for factors in (users, items):
        assert factors.grad is not None
        assert float(factors.grad.abs().max()) < 1e-3


def test_ials_says_nothing() -> None:
    """In a process where BLAS has many threads, of which implicit warns."""
    code = """
from glta_cli.plugin import BaselineData, Interactions
from glta_cli.plugin.registry import installed

train = Interactions.from_pairs([0, 0, 1], [0, 1, 1], user_count=3, item_count=4)
component = installed().find("baseline", "ials")
component.target()(component.config()()).fit(BaselineData(train, train, None, 0, None))
"""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")


def test_without_implicit_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "implicit.cpu.als", None)
    monkeypatch.delitem(sys.modules, "glta_baselines.ials", raising=False)
    with pytest.raises(GltaError, match=r"baseline 'ials' of glta .* cannot be imported") as told:
        installed().find("baseline", "ials").target()
    assert told.value.hint == "pip install 'glta[ials]'"


def test_item_knn_is_the_shrunk_cosine_of_the_nearest(random_interactions: Callable[..., Interactions]) -> None:
    train = random_interactions(40, 12)
    histories = np.zeros((40, 12))
    histories[train.users, train.items] = 1
    common = histories.T @ histories
    expected = common / (np.sqrt(np.outer(common.diagonal(), common.diagonal())) + 3)
    np.fill_diagonal(expected, 0)
    for row in expected:
        row[np.argsort(-row, kind="stable")[4:]] = 0

    baseline = ItemKnn(ItemKnnSettings(neighbours=4, shrink=3.0))
    learnt = baseline.fit(data(train))
    assert np.diff(learnt["indptr"]).tolist() == (expected > 0).sum(axis=1).tolist()
    users = np.array([39, 0, 7])
    np.testing.assert_allclose(baseline.scorer(learnt, train)(users), histories[users] @ expected.T, rtol=1e-5)


def test_item_knn_is_the_same_in_blocks(
    random_interactions: Callable[..., Interactions], monkeypatch: pytest.MonkeyPatch
) -> None:
    train = random_interactions(30, 11)
    whole = ItemKnn(ItemKnnSettings(neighbours=3)).fit(data(train))
    monkeypatch.setattr("glta_baselines.item_knn.BLOCK", 4)
    in_blocks = ItemKnn(ItemKnnSettings(neighbours=3)).fit(data(train))
    for name, array in whole.items():
        np.testing.assert_array_equal(in_blocks[name], array)


@pytest.fixture
def texts() -> np.ndarray:
    vectors = np.random.default_rng(5).standard_normal((12, 4)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_text_only_is_the_cosine_with_the_mean_of_the_history(
    random_interactions: Callable[..., Interactions], texts: np.ndarray
) -> None:
    train = random_interactions(20, 12)
    baseline = TextOnly(TextOnlySettings())
    learnt = baseline.fit(replace(data(train), text_vectors=texts))
    [scores] = baseline.scorer(learnt, train)(np.array([3]))
    mean = texts[train.of(3)].mean(axis=0)
    np.testing.assert_allclose(scores, texts @ mean / np.linalg.norm(mean), rtol=1e-5)


def test_ease_with_texts_is_ease_of_the_stacked_matrix(
    random_interactions: Callable[..., Interactions], texts: np.ndarray
) -> None:
    train = random_interactions(20, 12)
    histories = np.zeros((20, 12))
    histories[train.users, train.items] = 1
    stacked = np.concatenate([histories, 2.5 * texts.T])  # [U + D, I]
    inverse = np.linalg.inv(stacked.T @ stacked + 7 * np.eye(12))
    expected = np.eye(12) - inverse / inverse.diagonal()

    learnt = EaseText(EaseTextSettings(regularization=7.0, text_weight=2.5)).fit(
        replace(data(train), text_vectors=texts)
    )
    np.testing.assert_allclose(learnt["weights"], expected, atol=1e-5)
    without = EaseText(EaseTextSettings(regularization=7.0, text_weight=0.0)).fit(
        replace(data(train), text_vectors=texts)
    )
    alone = Ease(EaseSettings(regularization=7.0)).fit(data(train))
    np.testing.assert_allclose(without["weights"], alone["weights"], atol=1e-6)


@pytest.mark.parametrize("baseline", [TextOnly(TextOnlySettings()), EaseText(EaseTextSettings())])
def test_without_text_vectors_it_says_what_it_needs(
    random_interactions: Callable[..., Interactions], baseline: TextOnly | EaseText
) -> None:
    with pytest.raises(GltaError, match="needs the vectors of item texts"):
        baseline.fit(data(random_interactions(6, 5)))
