"""Vectors of items nobody met."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal

from glta_cli.graph.cold_start import (
    with_met_items,
    with_new_items,
    with_new_users,
    with_unmet_foretold,
    with_unmet_users,
)
from glta_cli.plugin.interactions import Interactions


def test_an_item_nobody_met_gets_the_vector_its_text_foretells() -> None:
    generator = np.random.default_rng(0)
    texts = generator.normal(size=(200, 12)).astype(np.float32)
    items = texts @ generator.normal(size=(12, 5)).astype(np.float32) + 0.5
    met = np.arange(200) % 20 != 7
    trained = np.where(met[:, None], items, generator.normal(size=items.shape)).astype(np.float32)
    found = with_unmet_foretold(trained, texts, met)
    assert_array_equal(found[met], trained[met])
    assert_allclose(found[~met], items[~met], atol=0.01)


def test_without_texts_it_is_as_any_item() -> None:
    items = np.arange(12, dtype=np.float32).reshape(4, 3)
    met = np.array([True, False, True, True])
    found = with_unmet_foretold(items, None, met)
    assert_allclose(found[1], items[met].mean(axis=0))
    assert with_unmet_foretold(items, None, np.ones(4, dtype=bool)) is items


def test_a_user_no_training_met_gets_what_its_items_make_of_it() -> None:
    generator = np.random.default_rng(1)
    items = generator.normal(size=(40, 5)).astype(np.float32)
    rows, columns = np.nonzero(generator.random((120, 40)) < 0.3)
    history = Interactions.from_pairs(rows, columns, user_count=120, item_count=40)
    means = np.stack([items[history.of(user)].mean(axis=0) for user in range(120)])
    users = (means @ generator.normal(size=(5, 5)) + 0.3).astype(np.float32)
    known = np.arange(120) % 6 != 1
    trained = np.where(known[:, None], users, generator.normal(size=users.shape)).astype(np.float32)
    found = with_unmet_users(trained, items, history, known)
    assert_array_equal(found[known], trained[known])
    assert_allclose(found[~known], users[~known], atol=0.05)
    # As a new one would be.
    last = np.arange(120) < 100
    assert_allclose(
        with_unmet_users(users, items, history, last), with_new_users(users[:100], items, history), atol=1e-5
    )


def test_one_without_an_item_has_the_mean_and_where_all_are_met_nothing_changes() -> None:
    items = np.eye(3, dtype=np.float32)
    history = Interactions.from_pairs([0, 1, 1], [0, 1, 2], user_count=3, item_count=3)
    users = np.arange(9, dtype=np.float32).reshape(3, 3)
    known = np.array([True, True, False])
    assert_allclose(with_unmet_users(users, items, history, known)[2], users[:2].mean(axis=0))
    assert with_unmet_users(users, items, history, np.ones(3, dtype=bool)) is users


def test_what_nobody_met_teaches_nothing_of_new_items() -> None:
    generator = np.random.default_rng(0)
    texts = generator.normal(size=(210, 12)).astype(np.float32)
    rows = texts @ generator.normal(size=(12, 5)).astype(np.float32) + 0.5
    met = np.arange(200) % 2 == 0
    learnt = np.where(met[:, None], rows[:200], generator.normal(size=(200, 5))).astype(np.float32)
    found = with_new_items(learnt, texts, 210, met)
    assert_array_equal(found[:200], learnt)
    assert_allclose(found[200:], rows[200:], atol=0.01)
    assert_allclose(with_new_items(learnt, None, 201, met)[200], learnt[met].mean(axis=0), rtol=1e-5)


def test_an_item_whose_vector_knows_nobody_goes_by_who_met_it() -> None:
    generator = np.random.default_rng(0)
    tastes = generator.normal(size=(2, 4)).astype(np.float32)
    users, items = np.repeat(tastes, 20, axis=0), np.repeat(tastes, 10, axis=0)
    pairs = [(user, item) for user in range(40) for item in range(20) if user // 20 == item // 10 and (user + item) % 3]
    # The last item of the first taste is met by users of the second alone.
    met = [(user, item) for user, item in pairs if item != 9] + [(user, 9) for user in range(20, 40)]
    history = Interactions.from_pairs(*zip(*met, strict=True), user_count=40, item_count=20)
    known = np.arange(20) != 9
    found = with_met_items(items, known, users, history)
    assert_array_equal(found[known], items[known])
    assert np.linalg.norm(found[9] - tastes[1]) < np.linalg.norm(found[9] - tastes[0])
