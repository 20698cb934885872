"""Splits for cold start: what is hidden is in no training interaction, and what is drawn is drawn by the seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from glta_cli.core.errors import InputError
from glta_cli.data.cold_splits import hidden_items, hidden_users
from glta_cli.data.parts import HISTORY, TEST, TRAIN, VALID
from glta_cli.data.splits import split
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.schema import SplitSettings


def drawn(users: int, items: int, share: float, seed: int) -> Interactions:
    met = np.random.default_rng(seed).random((users, items)) < share
    met[:, 0] = met[:, 1] = met[:3] = True  # enough to hide some of either
    rows, columns = np.nonzero(met)
    return Interactions.from_pairs(rows, columns, user_count=users, item_count=items + 2)  # two that nobody met


def cold(kind: str, **settings: float) -> SplitSettings:
    return SplitSettings.model_validate({"strategy": f"cold-{kind}", **settings})


sizes = st.tuples(st.integers(4, 40), st.integers(4, 40), st.floats(0.05, 0.9), st.integers(0, 2**32))
seeds = st.integers(0, 2**40)


@given(sizes, seeds)
def test_a_hidden_item_is_in_its_own_part_alone(size, seed):
    interactions, settings = drawn(*size), cold("items", seed=seed)
    assigned, hidden = split(interactions, settings, None), hidden_items(interactions, settings)
    for part in (VALID, TEST):
        assert (assigned[hidden[interactions.items] == part] == part).all()
    assert not (hidden[-2:] != TRAIN).any(), "an item nobody met has nothing to be found"
    warm = hidden[interactions.items] == TRAIN
    assert (assigned[warm] == TRAIN).any()
    assert set(np.unique(assigned)) <= {TRAIN, VALID, TEST}


@given(sizes, seeds)
def test_a_hidden_user_has_a_history_and_something_to_find_and_is_in_no_training(size, seed):
    interactions, settings = drawn(*size), cold("users", seed=seed)
    assigned, hidden = split(interactions, settings, None), hidden_users(interactions, settings)
    assert not (assigned[hidden[interactions.users] != TRAIN] == TRAIN).any()
    assert not (assigned[hidden[interactions.users] == TRAIN] == HISTORY).any()
    for user in np.flatnonzero(hidden != TRAIN):
        own = assigned[interactions.indptr[user] : interactions.indptr[user + 1]]
        assert set(own) == {HISTORY, hidden[user]}
        # A fifth is to be found, rounded, one at least.
        expected = np.clip(np.floor(0.2 * len(own) + 0.5 + 1e-9), 1, len(own) - 1)
        assert (own == hidden[user]).sum() == expected


@pytest.mark.parametrize(("kind", "hidden_of"), [("items", hidden_items), ("users", hidden_users)])
def test_a_tenth_is_hidden_to_choose_by_and_a_tenth_for_the_test(kind, hidden_of):
    interactions = drawn(200, 200, 0.2, 0)
    hidden = hidden_of(interactions, cold(kind))
    assert [(hidden == part).sum() for part in (VALID, TEST)] == [20, 20]
    more = hidden_of(interactions, cold(kind, test=0.3, validation=0.05))
    assert [(more == part).sum() for part in (VALID, TEST)] == [10, 60]


@pytest.mark.parametrize("kind", ["items", "users"])
def test_warm_interactions_are_divided_by_ratio(kind):
    interactions, settings = drawn(300, 100, 0.5, 1), cold(kind)
    assigned = split(interactions, settings, None)
    hidden = hidden_items(interactions, settings) if kind == "items" else hidden_users(interactions, settings)
    warm = hidden[interactions.items if kind == "items" else interactions.users] == TRAIN
    shares = np.bincount(assigned[warm], minlength=3) / warm.sum()
    assert np.abs(shares - [0.8, 0.1, 0.1]).max() < 0.02


@pytest.mark.parametrize("kind", ["items", "users"])
def test_a_seed_repeats_and_another_hides_others(kind):
    interactions = drawn(100, 100, 0.3, 0)
    first, again, other = (split(interactions, cold(kind, seed=seed), None) for seed in (1, 1, 2))
    assert_array_equal(first, again)
    assert (first != other).mean() > 0.1


@pytest.mark.parametrize("kind", ["items", "users"])
def test_too_little_to_hide_is_refused_with_a_way_out(kind):
    interactions = Interactions.from_pairs([0, 0], [0, 1], user_count=1, item_count=2)
    with pytest.raises(InputError, match=f"hides {kind}") as caught:
        split(interactions, cold(kind), None)
    assert "--set dataset.split.strategy=ratio" in str(caught.value)
