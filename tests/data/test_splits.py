"""Splits: every interaction in one, seeded, and no user left without something to learn from."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from glta_cli.core.errors import InputError
from glta_cli.data.splits import TEST, TRAIN, VALID, holdout_targets, split, split_as_given, split_by_ratio
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.schema import SplitSettings

counts = st.lists(st.integers(0, 40), min_size=1, max_size=20)
shares = st.floats(0.01, 0.49)
seeds = st.integers(0, 2**40)


def of_counts(items_per_user: list[int]) -> Interactions:
    indptr = np.concatenate([[0], np.cumsum(items_per_user)]).astype(np.int64)
    items = np.concatenate([np.arange(n) for n in items_per_user]).astype(np.int64)
    return Interactions(indptr, items, max(items_per_user, default=0))


def per_user(interactions: Interactions, assigned: np.ndarray, part: int) -> np.ndarray:
    return np.bincount(interactions.users[assigned == part], minlength=interactions.user_count)


@given(counts, shares, shares, seeds)
def test_ratio_gives_every_part_its_share_and_at_least_one(items_per_user, validation, test, seed):
    interactions = of_counts(items_per_user)
    assigned = split_by_ratio(interactions, validation, test, seed)
    many = interactions.counts >= 3
    for part in (TRAIN, VALID, TEST):
        assert (per_user(interactions, assigned, part)[many] >= 1).all()
    assert_array_equal(per_user(interactions, assigned, TRAIN)[~many], interactions.counts[~many])
    exact = test * interactions.counts
    assert (np.abs(per_user(interactions, assigned, TEST) - exact)[interactions.counts >= 10] <= 1).all()


@given(counts, seeds)
def test_one_user_does_not_change_what_another_gets(items_per_user, seed):
    shorter = [max(0, n - 3) for n in items_per_user[:-1]] + items_per_user[-1:]
    last = items_per_user[-1]
    if not last:
        return
    both = [split_by_ratio(of_counts(each), 0.2, 0.2, seed)[-last:] for each in (items_per_user, shorter)]
    assert_array_equal(*both)
    targets = [holdout_targets(of_counts(each), 0.3, seed)[-last:] for each in (items_per_user, shorter)]
    assert_array_equal(*targets)


def test_a_seed_repeats_and_another_differs():
    interactions = of_counts([30] * 30)
    first, again, other = (split_by_ratio(interactions, 0.1, 0.1, seed) for seed in (1, 1, 2))
    assert_array_equal(first, again)
    assert (first != other).mean() > 0.1


def test_every_place_in_a_history_is_as_likely_to_be_tested():
    interactions = of_counts([10] * 20_000)
    tested = (split_by_ratio(interactions, 0.1, 0.1, 0) == TEST).reshape(-1, 10)
    assert_array_equal(tested.sum(axis=1), 1)
    # One in ten, with five standard deviations to either side.
    assert np.abs(tested.mean(axis=0) - 0.1).max() < 5 * np.sqrt(0.09 / 20_000)


def test_no_validation_share_means_no_validation():
    assigned = split_by_ratio(of_counts([3, 10, 2]), 0.0, 0.1, 0)
    assert (assigned == VALID).sum() == 0
    assert (assigned == TEST).sum() == 2


def test_leave_last_out_takes_the_last_two():
    settings = SplitSettings(strategy="leave-last-out")
    interactions = of_counts([4, 2, 0, 3])
    assert_array_equal(split(interactions, settings, np.arange(9)), [0, 0, 1, 2, 0, 0, 0, 1, 2])


@given(st.lists(st.integers(0, 50), min_size=10, max_size=200))
def test_the_cut_in_time_is_one_for_all(times):
    timestamps = np.array(times)
    interactions = of_counts([len(times)])
    if (timestamps == timestamps.min()).mean() > 0.7:
        # The first fifth from the end may or may not reach into the crowd at the start.
        return
    assigned = split(interactions, SplitSettings(strategy="temporal"), timestamps)
    parts = [timestamps[assigned == part] for part in (TRAIN, VALID, TEST)]
    filled = [part for part in parts if len(part)]
    assert all(before.max() < after.min() for before, after in pairwise(filled))
    assert len(parts[TRAIN])
    assert len(parts[TEST])


@pytest.mark.parametrize("strategy", ["leave-last-out", "temporal"])
def test_without_times_the_error_says_what_to_do(strategy):
    with pytest.raises(InputError, match="needs times") as caught:
        split(of_counts([5]), SplitSettings(strategy=strategy), None)
    assert "--set dataset.split.strategy=ratio" in str(caught.value)


def test_shares_that_leave_nothing_to_train_on_are_an_error():
    with pytest.raises(InputError, match="nothing for training"):
        split(of_counts([5]), SplitSettings(validation=0.5, test=0.5), None)


@given(counts, st.floats(0.01, 0.99), seeds)
def test_a_held_out_target_leaves_something_in_the_graph(items_per_user, share, seed):
    train = of_counts(items_per_user)
    held = np.bincount(train.users[holdout_targets(train, share, seed)], minlength=train.user_count)
    several = train.counts >= 2
    assert (held[several] >= 1).all()
    assert (held[several] < train.counts[several]).all()
    assert (held[~several] == 0).all()


def test_no_share_holds_nothing_out():
    assert not holdout_targets(of_counts([5, 1]), 0.0, 0).any()


def test_targets_are_not_the_items_the_split_would_choose():
    interactions = of_counts([20] * 200)
    tested = split_by_ratio(interactions, 0.0, 0.2, 0) == TEST
    held = holdout_targets(interactions, 0.2, 0)
    assert (tested & held).sum() < tested.sum() / 2


def test_a_crowd_at_one_time_cannot_be_cut():
    with pytest.raises(InputError, match="most interactions carry the same time"):
        split(of_counts([10]), SplitSettings(strategy="temporal"), np.array([5] * 9 + [6]))


# --------------------------------------------------------------------------------------------- as the source divides


def test_a_given_split_is_kept_as_it_is():
    given_parts = np.array([TEST, TRAIN, VALID, TRAIN, TEST], dtype=np.int8)
    settings = SplitSettings(strategy="given", validation=0.6, test=0.6)
    assert_array_equal(split(of_counts([3, 2]), settings, None, given_parts), given_parts)


@given(st.data(), counts, shares, seeds)
def test_validation_that_is_not_given_is_drawn_from_training(data, items_per_user, validation, seed):
    interactions = of_counts(items_per_user)
    parts = data.draw(st.lists(st.sampled_from([TRAIN, TEST]), min_size=len(interactions), max_size=len(interactions)))
    given_parts = np.array(parts, dtype=np.int8)
    if not (given_parts == TRAIN).any():
        return
    assigned = split_as_given(interactions, given_parts, validation, seed)
    assert_array_equal(assigned == TEST, given_parts == TEST)
    training = per_user(interactions, given_parts, TRAIN)
    drawn = per_user(interactions, assigned, VALID)
    many = training >= 3
    # At least one and rounded, and something is left to learn from; a user with fewer than three keeps them all.
    assert_array_equal(drawn[many], np.clip(np.floor(validation * training[many] + 0.5 + 1e-9), 1, training[many] - 1))
    assert (drawn[~many] == 0).all()
    assert_array_equal(assigned, split_as_given(interactions, given_parts, validation, seed))


def test_another_seed_draws_other_validation():
    interactions = of_counts([30] * 30)
    given_parts = np.where(np.arange(len(interactions)) % 5 == 0, TEST, TRAIN).astype(np.int8)
    first, other = (split_as_given(interactions, given_parts, 0.1, seed) for seed in (1, 2))
    assert (first != other).mean() > 0.1


def test_a_dataset_that_is_not_divided_cannot_be_split_as_given():
    with pytest.raises(InputError, match="comes without a split of its own") as caught:
        split(of_counts([5]), SplitSettings(strategy="given"), None)
    assert "--set dataset.split.strategy=ratio" in str(caught.value)


def test_a_given_split_without_training_is_an_error():
    with pytest.raises(InputError, match="the given split leaves nothing for training"):
        split(of_counts([2]), SplitSettings(strategy="given"), None, np.array([VALID, TEST], dtype=np.int8))
