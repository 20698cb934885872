"""EASE drawn towards item texts, and EASE with the weights of texts added: what their formulas say."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from glta_baselines.add_ease import AddEase
from glta_baselines.ease import Ease, EaseText
from glta_baselines.l3ae import L3ae
from glta_baselines.linear_row import item_counts
from glta_baselines.ridge_inverse import BLOCK, Correction, RidgeInverse
from glta_baselines.settings import AddEaseSettings, EaseSettings, EaseTextSettings, L3aeSettings

from glta_cli.plugin import BaselineData, GltaError, Interactions, LinearTerm

USERS, ITEMS = 40, 12


@pytest.fixture
def texts() -> np.ndarray:
    vectors = np.random.default_rng(5).standard_normal((ITEMS, 4)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def given(random_interactions: Callable[..., Interactions], texts: np.ndarray) -> BaselineData:
    train = random_interactions(USERS, ITEMS)
    none = Interactions.from_pairs([], [], user_count=USERS, item_count=ITEMS)
    return BaselineData(train, none, texts=None, seed=0, device=torch.device("cpu"), text_vectors=texts)


def dense(train: Interactions) -> np.ndarray:
    histories = np.zeros((train.user_count, train.item_count))
    histories[train.users, train.items] = 1
    return histories


def ridge_by_column(
    rows: np.ndarray, ridge: float, *, towards: np.ndarray | None = None, pull: float = 0
) -> np.ndarray:
    """B [I, I] that minimises |X - X B|² + (ridge - pull) |B|² + pull |B - C|², each column without its own item."""
    items = rows.shape[1]
    wanted = np.zeros((items, items)) if towards is None else towards
    found = np.zeros((items, items))
    for item in range(items):
        others = np.delete(np.arange(items), item)
        features = rows[:, others]
        gram = features.T @ features + ridge * np.eye(items - 1)
        found[others, item] = np.linalg.solve(gram, features.T @ rows[:, item] + pull * wanted[others, item])
    return found


def exact(baseline: Any, data: BaselineData, **numbers: float) -> np.ndarray:
    """The weights before they are rounded to single precision."""
    assert data.text_vectors is not None
    inverse = RidgeInverse(item_counts(data.train))
    inverse.solve(numbers["regularization"])
    return inverse.weights(baseline.correction(inverse, data.text_vectors.astype(float), numbers), dtype=np.float64)


@pytest.mark.parametrize(("pull", "text_ridge"), [(0.8, 0.3), (1.0, 5.0), (2.5, 0.01)])
def test_l3ae_is_ridge_regression_towards_the_weights_of_texts(
    given: BaselineData, texts: np.ndarray, pull: float, text_ridge: float
) -> None:
    regularization = 7.0
    of_texts = ridge_by_column(texts.T.astype(float), text_ridge)
    expected = ridge_by_column(dense(given.train), regularization, towards=of_texts, pull=pull * regularization)
    numbers = {"regularization": regularization, "pull": pull, "text_regularization": text_ridge}
    baseline = L3ae(L3aeSettings(**numbers))
    assert np.abs(exact(baseline, given, **numbers) - expected).max() < 1e-8
    learnt = baseline.fit(given)
    assert learnt["weights"].dtype == np.float32
    np.testing.assert_allclose(learnt["weights"], expected, atol=1e-6)
    assert not learnt["weights"].diagonal().any()
    users = np.array([39, 0, 7])
    scores = baseline.scorer(learnt, given.train)(users)
    np.testing.assert_allclose(scores, dense(given.train)[users] @ expected, atol=1e-5)


def test_l3ae_without_a_pull_is_ease(given: BaselineData) -> None:
    drawn = L3ae(L3aeSettings(regularization=7.0, pull=0.0, text_regularization=1.0)).fit(given)
    alone = Ease(EaseSettings(regularization=7.0)).fit(given)
    np.testing.assert_allclose(drawn["weights"], alone["weights"], atol=1e-7)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_add_ease_adds_the_weights_of_histories_and_of_texts(
    given: BaselineData, texts: np.ndarray, share: float
) -> None:
    histories, of_texts = ridge_by_column(dense(given.train), 7.0), ridge_by_column(texts.T.astype(float), 0.3)
    numbers = {"regularization": 7.0, "text_share": share, "text_regularization": 0.3}
    baseline = AddEase(AddEaseSettings(**numbers))
    expected = (1 - share) * histories + share * of_texts
    assert np.abs(exact(baseline, given, **numbers) - expected).max() < 1e-8
    np.testing.assert_allclose(baseline.fit(given)["weights"], expected, atol=1e-6)


def test_an_item_without_interactions_is_scored_by_its_text(given: BaselineData, texts: np.ndarray) -> None:
    kept = given.train.items != 3
    train = Interactions.from_pairs(
        given.train.users[kept], given.train.items[kept], user_count=USERS, item_count=ITEMS
    )
    cold = replace(given, train=train)
    for baseline in (L3ae(L3aeSettings(regularization=7.0)), AddEase(AddEaseSettings(regularization=7.0))):
        assert np.abs(baseline.fit(cold)["weights"][:, 3]).max() > 1e-3


def test_they_are_the_same_in_blocks(given: BaselineData, monkeypatch: pytest.MonkeyPatch) -> None:
    made = (L3ae(L3aeSettings()), AddEase(AddEaseSettings()))
    whole = [baseline.fit(given)["weights"] for baseline in made]
    for block in (1, 5, 12):
        monkeypatch.setattr("glta_baselines.ridge_inverse.BLOCK", block)
        for baseline, expected in zip(made, whole, strict=True):
            np.testing.assert_allclose(baseline.fit(given)["weights"], expected, atol=1e-7)


@pytest.mark.parametrize(
    ("baseline", "numbers"),
    [
        (EaseText(EaseTextSettings()), {"regularization": 7.0, "text_weight": 2.0}),
        (L3ae(L3aeSettings()), {"regularization": 7.0, "pull": 1.5, "text_regularization": 0.3}),
        (AddEase(AddEaseSettings()), {"regularization": 7.0, "text_share": 0.3, "text_regularization": 0.3}),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_what_is_tried_scores_unseen_items_as_what_is_fitted(
    given: BaselineData, texts: np.ndarray, baseline: Any, numbers: dict[str, float]
) -> None:
    inverse = RidgeInverse(item_counts(given.train))
    inverse.solve(7.0)
    correction = baseline.correction(inverse, texts.astype(float), numbers)
    users = np.arange(USERS)
    tried = correction.scorer(inverse.weights(), given.train)(users)
    fitted = type(baseline)(type(baseline.settings)(**numbers))
    expected = fitted.scorer(fitted.fit(given), given.train)(users)
    unseen = dense(given.train) == 0
    np.testing.assert_allclose(tried[unseen], expected[unseen], atol=1e-5)


def test_the_same_gram_matrix_is_solved_for_one_regularization_after_another(given: BaselineData) -> None:
    counts = item_counts(given.train)
    inverse = RidgeInverse(counts.copy())
    for regularization in (7.0, 0.5, 7.0):
        inverse.solve(regularization)
        expected = np.linalg.inv(counts + regularization * np.eye(ITEMS))
        np.testing.assert_allclose(inverse.times(np.eye(ITEMS)), expected, atol=1e-12)
        np.testing.assert_allclose(inverse.diagonal, expected.diagonal(), atol=1e-12)
    np.testing.assert_array_equal(inverse.restored(), counts)


def test_a_correction_takes_little_memory_beside_the_gram_matrix() -> None:
    items = 8 * BLOCK
    gram = np.eye(items)
    vectors = np.random.default_rng(0).standard_normal((items, 8))
    tracemalloc.start()
    inverse = RidgeInverse(gram)
    inverse.solve(1.0)
    weights = inverse.weights(Correction(np.ones(items), vectors, vectors))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The weights, and blocks: 12 bytes a pair with the 8 of the matrix itself, and little more.
    assert peak < weights.nbytes + 0.9 * gram.nbytes


@pytest.mark.parametrize("baseline", [L3ae(L3aeSettings()), AddEase(AddEaseSettings())])
def test_without_text_vectors_they_say_what_they_need(given: BaselineData, baseline: Any) -> None:
    with pytest.raises(GltaError, match=f"{baseline.name} needs the vectors of item texts"):
        baseline.fit(replace(given, text_vectors=None))


@pytest.mark.parametrize("baseline", [L3ae(L3aeSettings(recency=0.7)), AddEase(AddEaseSettings(recency=0.7))])
def test_their_term_gives_their_scores(given: BaselineData, baseline: Any) -> None:
    learnt = baseline.fit(given)
    term = baseline.term(learnt, given.train)
    assert isinstance(term, LinearTerm)
    histories = np.zeros((USERS, ITEMS))
    for user in range(USERS):
        items = given.train.of(user)
        histories[user, items] = term.recency ** np.arange(len(items))[::-1]
    scores = baseline.scorer(learnt, given.train)(np.arange(USERS))
    np.testing.assert_allclose(histories @ term.weights, scores, atol=1e-5)
