"""Training, validation and test: which interaction belongs to which."""

from __future__ import annotations

from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.errors import InputError
from glta_cli.data.cold_splits import split_cold_items, split_cold_users
from glta_cli.data.draws import FEWEST_TO_SPLIT as FEWEST_TO_SPLIT
from glta_cli.data.draws import mixed, random_rank, rounded
from glta_cli.data.draws import split_by_ratio as split_by_ratio
from glta_cli.data.parts import SPLITS as SPLITS
from glta_cli.data.parts import TEST, TRAIN, VALID
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.schema import SplitSettings


def split(
    interactions: Interactions,
    settings: SplitSettings,
    timestamps: NDArray[np.int64] | None,
    given: NDArray[np.int8] | None = None,
) -> NDArray[np.int8]:
    """Assign every interaction to training (0), validation (1) or test (2), or to a hidden user's history (3).

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
    if settings.strategy == "cold-items":
        return split_cold_items(interactions, settings)
    if settings.strategy == "cold-users":
        return split_cold_users(interactions, settings)
    if timestamps is None:
        raise InputError(
            f"the split '{settings.strategy}' needs times, and this dataset has none",
            location="dataset.split.strategy",
            hint="use --set dataset.split.strategy=ratio, or name the column of times (table: "
            "--set dataset.options.timestamp=COLUMN)",
        )
    if settings.strategy == "leave-last-out":
        return split_last_out(interactions)
    if settings.strategy == "temporal":
        return split_by_time(timestamps, settings.validation, settings.test)
    assert_never(settings.strategy)


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
            hint="use --set dataset.split.strategy=ratio",
        )
    training = np.flatnonzero(given == TRAIN)
    if not len(training):
        raise InputError(
            "the given split leaves nothing for training",
            location="dataset.split.strategy",
            hint="use --set dataset.split.strategy=ratio",
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
    first_test = ordered[min(int(rounded(1 - test, len(ordered))), len(ordered) - 1)]
    first_valid = ordered[min(int(rounded(1 - test - validation, len(ordered))), len(ordered) - 1)]
    if first_valid == ordered[0]:
        raise InputError(
            "the cut in time leaves nothing for training: most interactions carry the same time",
            location="dataset.split.strategy",
            hint="use --set dataset.split.strategy=ratio",
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
    return random_rank(train, seed, purpose=2) < _hidden_counts(train.counts, share)[train.users]


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
    key = mixed(mixed(np.uint64(seed)) + np.uint64(4))
    users = np.arange(train.user_count)
    first = (mixed(key + users.astype(np.uint64)) % np.uint64(count)).astype(np.int64)  # [U]
    place = random_rank(train, seed, purpose=3) + first[train.users]
    return np.where(train.counts[train.users] >= 2, place % count, -1).astype(np.int8)


def _hidden_counts(counts: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """How many of each user's interactions a share of them is: one at least of two, never all; 0 for a share of 0."""
    if share == 0:
        return np.zeros_like(counts)
    return np.clip(rounded(share, counts), (counts >= 2).astype(np.int64), np.maximum(counts - 1, 0))
