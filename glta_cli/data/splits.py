"""Training, validation and test: which interaction belongs to which, by vectorised arithmetic alone.

Random choices come from a hash of (seed, user, position), not from a stream: what one user gets does not
depend on how many items the users before it have.
"""

from __future__ import annotations

from typing import Final, assert_never

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.errors import InputError
from glta_cli.data.sorting import stable_order
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.schema import SplitSettings

SPLITS: Final = ("train", "valid", "test")
TRAIN, VALID, TEST = range(3)

# Below this, a user cannot give validation and test one item each and still keep one to learn from.
FEWEST_TO_SPLIT: Final = 3


def split(
    interactions: Interactions,
    settings: SplitSettings,
    timestamps: NDArray[np.int64] | None,
    given: NDArray[np.int8] | None = None,
) -> NDArray[np.int8]:
    """Assign every interaction to training (0), validation (1) or test (2).

    Args:
        interactions: each user's items in order of time.
        timestamps: seconds [n], along `interactions.items`; None when unknown.
        given: the source's own parts [n], along `interactions.items`; None when it comes undivided.

    Returns:
        int8 [n].

    Raises:
        InputError: the strategy needs times or given parts and there are none, or nothing would be left to learn from.
    """
    if settings.strategy == "given":
        return split_as_given(interactions, given, settings.validation, settings.seed)
    if settings.validation + settings.test >= 1:
        raise InputError(
            f"validation {settings.validation} and test {settings.test} leave nothing for training",
            location="dataset.split",
            hint="their sum must be below 1, such as 0.1 and 0.1",
        )
    if settings.strategy == "ratio":
        return split_by_ratio(interactions, settings.validation, settings.test, settings.seed)
    if timestamps is None:
        raise InputError(
            f"the split '{settings.strategy}' needs times, and this dataset has none",
            location="dataset.split.strategy",
            hint="use --split ratio, or name the column of times (table: -o timestamp=COLUMN)",
        )
    if settings.strategy == "leave-last-out":
        return split_last_out(interactions)
    if settings.strategy == "temporal":
        return split_by_time(timestamps, settings.validation, settings.test)
    assert_never(settings.strategy)


def split_by_ratio(interactions: Interactions, validation: float, test: float, seed: int) -> NDArray[np.int8]:
    """Divide each user's items at random.

    A user with at least 3 items gives at least one to test and to validation (none where the share is 0), and
    keeps at least one; a user with fewer keeps them all in training.
    """
    counts = interactions.counts
    splits = counts >= FEWEST_TO_SPLIT
    least_valid = np.where(splits & (validation > 0), 1, 0)
    least_test = 1 if test > 0 else 0
    tests = np.where(splits, np.clip(_rounded(test, counts), least_test, counts - 1 - least_valid), 0)
    valids = np.clip(_rounded(validation, counts), least_valid, np.maximum(counts - 1 - tests, 0)) * splits
    rank = _random_rank(interactions, seed, purpose=1)
    assigned = np.full(len(interactions), TRAIN, dtype=np.int8)
    assigned[rank < (tests + valids)[interactions.users]] = VALID
    assigned[rank < tests[interactions.users]] = TEST
    return assigned


def split_as_given(
    interactions: Interactions, given: NDArray[np.int8] | None, validation: float, seed: int
) -> NDArray[np.int8]:
    """The source's own parts [n]; where it has none for validation, each user's share is drawn from its training part.

    Raises:
        InputError: the source comes undivided, or with nothing to learn from.
    """
    if given is None:
        raise InputError(
            "this dataset comes without a split of its own",
            location="dataset.split.strategy",
            hint="use --split ratio",
        )
    training = np.flatnonzero(given == TRAIN)
    if not len(training):
        raise InputError(
            "the given split leaves nothing for training", location="dataset.split.strategy", hint="use --split ratio"
        )
    if (given == VALID).any():
        return given
    train = interactions.where(training)
    assigned = given.copy()
    assigned[training] = split_by_ratio(train, validation, 0.0, seed)
    return assigned


def split_last_out(interactions: Interactions) -> NDArray[np.int8]:
    """Each user's last item is for testing, the one before for validation; fewer than 3 only train."""
    assigned = np.full(len(interactions), TRAIN, dtype=np.int8)
    ends = interactions.indptr[1:][interactions.counts >= FEWEST_TO_SPLIT]
    assigned[ends - 1] = TEST
    assigned[ends - 2] = VALID
    return assigned


def split_by_time(timestamps: NDArray[np.int64], validation: float, test: float) -> NDArray[np.int8]:
    """One cut in time for all: the latest share is for testing, the one before for validation.

    Interactions of one second stay together, so the shares are met as closely as the times allow.
    """
    ordered = np.sort(timestamps)
    first_test = ordered[min(int(_rounded(1 - test, len(ordered))), len(ordered) - 1)]
    first_valid = ordered[min(int(_rounded(1 - test - validation, len(ordered))), len(ordered) - 1)]
    if first_valid == ordered[0]:
        raise InputError(
            "the cut in time leaves nothing for training: most interactions carry the same time",
            location="dataset.split.strategy",
            hint="use --split ratio",
        )
    assigned = np.full(len(timestamps), TRAIN, dtype=np.int8)
    assigned[timestamps >= first_valid] = VALID
    assigned[timestamps >= first_test] = TEST
    return assigned


def holdout_targets(train: Interactions, share: float, seed: int) -> NDArray[np.bool_]:
    """Mark the training interactions that are hidden from the graph to be predicted in stage 3.

    Each user gives `share` of its items, rounded: at least one if it has two, never all; 0 marks none.

    Returns:
        bool [n], along `train.items`.
    """
    return _random_rank(train, seed, purpose=2) < _hidden_counts(train.counts, share)[train.users]


def latest_targets(train: Interactions, share: float) -> NDArray[np.bool_]:
    """Mark each user's latest training interactions, as many as `holdout_targets` would draw.

    What is asked for where the split is in time is what comes next: so it is in stage 3 then.

    Returns:
        bool [n], along `train.items`.
    """
    left = train.indptr[1:][train.users] - np.arange(len(train))  # 1 for each user's newest
    return left <= _hidden_counts(train.counts, share)[train.users]


def target_folds(train: Interactions, count: int, seed: int) -> NDArray[np.int8]:
    """Deal each user's training interactions out to `count` folds at random, as evenly as they can be.

    Which fold gets one more differs from user to user. Of a user with one interaction it is in none: without it there
    would be nothing to show.

    Returns:
        int8 [n], along `train.items`: the fold, or -1.
    """
    key = _mixed(_mixed(np.uint64(seed)) + np.uint64(4))
    users = np.arange(train.user_count)
    first = (_mixed(key + users.astype(np.uint64)) % np.uint64(count)).astype(np.int64)  # [U]
    place = _random_rank(train, seed, purpose=3) + first[train.users]
    return np.where(train.counts[train.users] >= 2, place % count, -1).astype(np.int8)


def _hidden_counts(counts: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """How many of each user's interactions a share of them is: one at least of two, never all; 0 for a share of 0."""
    if share == 0:
        return np.zeros_like(counts)
    return np.clip(_rounded(share, counts), (counts >= 2).astype(np.int64), np.maximum(counts - 1, 0))


def _rounded(share: float, counts: NDArray[np.int64] | int) -> NDArray[np.int64]:
    # Halves round up: numpy's own rounding to even would give a user with 25 items fewer than one with 15.
    return np.floor(share * np.asarray(counts) + 0.5 + 1e-9).astype(np.int64)


def _random_rank(interactions: Interactions, seed: int, purpose: int) -> NDArray[np.int64]:
    """Each interaction's place in a random order of its user's, int64 [n]; another order for each purpose."""
    users = interactions.users
    position = np.arange(len(users), dtype=np.int64) - interactions.indptr[users]
    key = _mixed(_mixed(np.uint64(seed)) + np.uint64(purpose))
    key = _mixed(_mixed(key + users.astype(np.uint64)) + position.astype(np.uint64))
    rank = np.empty(len(users), dtype=np.int64)
    # The keys of one user all differ, for a bijection made them from its positions: any sort of them will do.
    order = np.argsort(key)
    rank[order[stable_order(users[order])]] = position
    return rank


def _mixed(value: NDArray[np.uint64] | np.uint64) -> NDArray[np.uint64]:
    """SplitMix64's finaliser: a bijection of 64 bits whose outputs look independent (Steele et al., 2014)."""
    mixed = np.atleast_1d(value) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
