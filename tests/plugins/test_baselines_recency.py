"""What a shipped baseline makes of histories it was not fitted on, and of older items."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from glta_baselines.add_ease import AddEase
from glta_baselines.ease import Ease, EaseText
from glta_baselines.histories import histories_of
from glta_baselines.ials import Ials
from glta_baselines.item_knn import ItemKnn
from glta_baselines.l3ae import L3ae
from glta_baselines.settings import (
    AddEaseSettings,
    EaseSettings,
    EaseTextSettings,
    IalsSettings,
    ItemKnnSettings,
    L3aeSettings,
    TextOnlySettings,
)
from glta_baselines.text_only import TextOnly
from hypothesis import given
from hypothesis import strategies as st

from glta_cli.plugin import BaselineData, Interactions

USERS, ITEMS = 30, 20
EVERYONE = np.arange(USERS)
ROWS: list[tuple[type[Any], type[Any], dict[str, Any]]] = [
    (Ease, EaseSettings, {}),
    (EaseText, EaseTextSettings, {}),
    (L3ae, L3aeSettings, {}),
    (AddEase, AddEaseSettings, {}),
    (ItemKnn, ItemKnnSettings, {"shrink": 0.0}),
    (TextOnly, TextOnlySettings, {}),
    (Ials, IalsSettings, {"dimension": 4}),
]


def shuffled(interactions: Interactions, seed: int) -> Interactions:
    """The same, each user's in another order."""
    order = np.random.default_rng(seed).permutation(len(interactions))
    return Interactions.from_pairs(
        interactions.users[order], interactions.items[order], user_count=USERS, item_count=ITEMS
    )


def fitted(target: Any, settings: Any, train: Interactions) -> tuple[Any, Any]:
    texts = np.random.default_rng(1).normal(size=(ITEMS, 6)).astype(np.float32)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    none = Interactions.from_pairs([], [], user_count=USERS, item_count=ITEMS)
    data = BaselineData(
        train=train, validation=none, texts=None, seed=0, device=torch.device("cpu"), text_vectors=texts
    )
    baseline = target(settings)
    return baseline, baseline.fit(data)


@pytest.mark.parametrize(("target", "config", "options"), ROWS, ids=[row[0].__name__ for row in ROWS])
def test_recency_changes_scores_and_nothing_that_is_fitted(
    random_interactions: Callable[..., Interactions], target: Any, config: Any, options: dict[str, Any]
) -> None:
    train = shuffled(random_interactions(USERS, ITEMS), 0)
    usual, learnt = fitted(target, config(**options), train)
    recent, learnt_too = fitted(target, config(**options, recency=0.5), train)
    assert learnt.keys() == learnt_too.keys()
    assert all(np.array_equal(learnt[name], learnt_too[name]) for name in learnt)
    explicit = target(config(**options, recency=1.0)).scorer(learnt, train)(EVERYONE)
    np.testing.assert_array_equal(usual.scorer(learnt, train)(EVERYONE), explicit)
    assert not np.allclose(recent.scorer(learnt, train)(EVERYONE), explicit)


# In ials an item that was met is wanted however old it is, with the confidence of one that was not.
@pytest.mark.parametrize(("target", "config", "options"), ROWS[:-1], ids=[row[0].__name__ for row in ROWS[:-1]])
def test_where_older_items_weigh_next_to_nothing_the_newest_is_the_history(
    random_interactions: Callable[..., Interactions], target: Any, config: Any, options: dict[str, Any]
) -> None:
    train = shuffled(random_interactions(USERS, ITEMS), 0)
    baseline, learnt = fitted(target, config(**options, recency=1e-7), train)
    users = np.flatnonzero(train.counts)
    newest = Interactions.from_pairs(
        users, train.items[train.indptr[users + 1] - 1], user_count=USERS, item_count=ITEMS
    )
    np.testing.assert_allclose(
        baseline.scorer(learnt, train)(users), baseline.scorer(learnt, newest)(users), rtol=1e-3, atol=1e-5
    )


@given(st.lists(st.integers(0, 6), min_size=1, max_size=8), st.floats(0.1, 1.0))
def test_an_item_weighs_a_power_of_the_recency_by_the_newer_ones(lengths: list[int], recency: float) -> None:
    users = np.repeat(np.arange(len(lengths)), lengths)
    items = np.concatenate([np.arange(length) for length in lengths]).astype(np.int64)
    histories = Interactions.from_pairs(users, items, user_count=len(lengths), item_count=7)
    weighed = histories_of(histories, recency).toarray()
    for user, length in enumerate(lengths):
        expected = [recency ** (length - 1 - place) for place in range(length)]
        np.testing.assert_allclose(weighed[user, :length], expected, rtol=1e-4)
        assert not weighed[user, length:].any()


def test_what_an_interaction_weighs_is_kept_beside_how_old_it_is() -> None:
    weights = np.array([3, 1, 2], dtype=np.float32)
    histories = Interactions.from_pairs([0, 0, 0], [4, 2, 1], user_count=1, item_count=5, weights=weights)
    np.testing.assert_allclose(histories_of(histories, 0.5).toarray(), [[0, 2, 0.5, 0, 0.75]])


# ------------------------------------------------------------------------------------------------- iALS, fold-in


def minimiser(items: np.ndarray, met: np.ndarray, confidence: np.ndarray, regularization: float) -> np.ndarray:
    """x that minimises Σ_i c_i (p_i - <x, y_i>)² + λ |x|², by least squares of the stacked system."""
    weight, wanted = np.ones(len(items)), np.zeros(len(items))
    weight[met], wanted[met] = confidence, 1
    rows = np.concatenate([np.sqrt(weight)[:, None] * items, np.sqrt(regularization) * np.eye(items.shape[1])])
    return np.linalg.lstsq(rows, np.concatenate([np.sqrt(weight) * wanted, np.zeros(items.shape[1])]), rcond=None)[0]


def test_a_user_with_one_more_item_is_solved_for_exactly_and_the_others_stay(
    random_interactions: Callable[..., Interactions],
) -> None:
    train = random_interactions(USERS, ITEMS)
    settings = IalsSettings(dimension=4, alpha=7.0, regularization=2.0)
    baseline, learnt = fitted(Ials, settings, train)
    user = 3
    new = int(np.setdiff1d(np.arange(ITEMS), train.of(user))[0])
    more = Interactions.from_pairs(
        np.append(train.users, user), np.append(train.items, new), user_count=USERS, item_count=ITEMS
    )
    known = baseline.fold_in(learnt, train, more)
    others = np.delete(EVERYONE, user)
    np.testing.assert_array_equal(known["users"][others], learnt["users"][others])
    met = more.of(user)
    exact = minimiser(learnt["items"].astype(float), met, np.full(len(met), 8.0), 2.0)
    np.testing.assert_allclose(known["users"][user], exact, rtol=1e-4, atol=1e-5)
    assert not np.allclose(known["users"][user], learnt["users"][user])


def test_the_histories_that_were_fitted_leave_every_user_as_it_was(
    random_interactions: Callable[..., Interactions],
) -> None:
    train = random_interactions(USERS, ITEMS)
    baseline, learnt = fitted(Ials, IalsSettings(dimension=4), train)
    again = baseline.fold_in(learnt, train, random_interactions(USERS, ITEMS))
    np.testing.assert_array_equal(again["users"], learnt["users"])


def test_older_items_have_less_confidence_in_ials(random_interactions: Callable[..., Interactions]) -> None:
    train = shuffled(random_interactions(USERS, ITEMS), 0)
    baseline, learnt = fitted(Ials, IalsSettings(dimension=4, alpha=7.0, regularization=2.0, recency=0.5), train)
    user = int(train.counts.argmax())
    met = train.of(user)
    confidence = 1 + 7.0 * 0.5 ** np.arange(len(met))[::-1]
    exact = minimiser(learnt["items"].astype(float), met, confidence, 2.0)
    scores = baseline.scorer(learnt, train)(np.array([user]))[0]
    np.testing.assert_allclose(scores, learnt["items"] @ exact, rtol=1e-3, atol=1e-4)
