"""Seeded draws, by vectorised arithmetic alone: each user's items in a random order, and a share of them.

Random choices come from a hash of (seed, user, position), not from a stream: what one user gets does not
depend on how many items the users before it have.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from glta_cli.data.parts import TEST, TRAIN, VALID
from glta_cli.data.sorting import stable_order
from glta_cli.data.user_blocks import ranges_of_users
from glta_cli.plugin.interactions import Interactions

# Below this, a user cannot give validation and test one item each and still keep one to learn from.
FEWEST_TO_SPLIT: Final = 3


def split_by_ratio(interactions: Interactions, validation: float, test: float, seed: int) -> NDArray[np.int8]:
    """Divide each user's items at random.

    A user with at least 3 items gives at least one to test and to validation (none where the share is 0), and
    keeps at least one; a user with fewer keeps them all in training.
    """
    counts = interactions.counts
    splits = counts >= FEWEST_TO_SPLIT
    least_valid = np.where(splits & (validation > 0), 1, 0)
    least_test = 1 if test > 0 else 0
    tests = np.where(splits, np.clip(rounded(test, counts), least_test, counts - 1 - least_valid), 0)
    valids = np.clip(rounded(validation, counts), least_valid, np.maximum(counts - 1 - tests, 0)) * splits
    assigned = np.full(len(interactions), TRAIN, dtype=np.int8)
    for rows, users, rank in _ranked(interactions, seed, purpose=1, told="divide each user's"):
        part = assigned[rows]
        part[rank < (tests + valids)[users]] = VALID
        part[rank < tests[users]] = TEST
    return assigned


def rounded(share: float, counts: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """Shares of counts as whole numbers, int64; halves round up."""
    # Halves round up: numpy's own rounding to even would give a user with 25 items fewer than one with 15.
    return np.floor(share * np.asarray(counts) + 0.5 + 1e-9).astype(np.int64)


def random_rank(interactions: Interactions, seed: int, purpose: int) -> NDArray[np.int64]:
    """Each interaction's place in a random order of its user's, int64 [n]; another order for each purpose."""
    ranks = np.empty(len(interactions), dtype=np.int64)
    for rows, _, rank in _ranked(interactions, seed, purpose):
        ranks[rows] = rank
    return ranks


def _ranked(
    interactions: Interactions, seed: int, purpose: int, told: str | None = None
) -> Iterator[tuple[slice, NDArray[np.int64], NDArray[np.int64]]]:
    """The same for some users after the other: their rows, the user of each of these and its place, both int64 [m]."""
    key = mixed(mixed(np.uint64(seed)) + np.uint64(purpose))
    for first, last in ranges_of_users(interactions.indptr, told):
        bounds = interactions.indptr[first : last + 1]
        users = np.repeat(np.arange(first, last, dtype=np.int64), np.diff(bounds))
        position = np.arange(len(users), dtype=np.int64) + bounds[0] - interactions.indptr[users]
        keys = mixed(mixed(key + users.astype(np.uint64)) + position.astype(np.uint64))
        rank = np.empty(len(users), dtype=np.int64)
        # The keys of one user all differ, for a bijection made them from its positions: any sort of them will do.
        order = np.argsort(keys)
        rank[order[stable_order(users[order])]] = position
        yield slice(int(bounds[0]), int(bounds[-1])), users, rank


def mixed(value: NDArray[np.uint64] | np.uint64) -> NDArray[np.uint64]:
    """SplitMix64's finaliser: a bijection of 64 bits whose outputs look independent (Steele et al., 2014)."""
    word = np.atleast_1d(value) + np.uint64(0x9E3779B97F4A7C15)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))
