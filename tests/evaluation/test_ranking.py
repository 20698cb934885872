"""Exact top-k over the whole catalogue, seen items masked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from glta_cli.data.interactions import Interactions
from glta_cli.errors import GltaError
from glta_cli.evaluation.ranking import mask_seen, rank_users, top_k

Draw = Callable[..., Interactions]

SHAPES = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24)
ANY = st.floats(allow_nan=False, width=32)
# Few values, so that most rows are full of ties.
TIES = st.sampled_from([-np.inf, -1.0, -0.0, 0.0, 1.0, np.inf])


def sorted_whole(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


@given(scores=arrays(np.float32, SHAPES, elements=ANY | TIES), k=st.integers(1, 30))
def test_top_k_equals_a_full_stable_sort(scores: NDArray[np.float32], k: int) -> None:
    assert_array_equal(top_k(scores, k), sorted_whole(scores, k))


@given(scores=arrays(np.float32, SHAPES, elements=TIES), k=st.integers(1, 30))
def test_ties_go_to_the_smaller_index(scores: NDArray[np.float32], k: int) -> None:
    assert_array_equal(top_k(scores, k), sorted_whole(scores, k))


def test_top_k_leaves_the_scores_alone_and_takes_both_precisions() -> None:
    scores = np.random.default_rng(0).random((4, 50))
    before = scores.copy()
    assert_array_equal(top_k(scores, 7), sorted_whole(scores, 7))
    assert_array_equal(scores, before)


@pytest.mark.parametrize("k", [5, 6, 1000])
def test_k_beyond_the_catalogue_ranks_all_of_it(k: int) -> None:
    assert_array_equal(top_k(np.array([[1.0, 3, 2, 3, 0]], dtype=np.float32), k), [[1, 3, 2, 0, 4]])


@pytest.mark.parametrize("place", [(0, 0), (2, 4)])
def test_a_nan_is_an_error(place: tuple[int, int]) -> None:
    scores = np.zeros((3, 5), dtype=np.float32)
    scores[place] = np.nan
    with pytest.raises(GltaError, match="NaN"):
        top_k(scores, 2)


@pytest.mark.parametrize("seed", range(5))
def test_masking_hides_exactly_the_seen_pairs(random_interactions: Draw, seed: int) -> None:
    seen, more = random_interactions(9, 13, seed=seed), random_interactions(9, 13, share=0.1, seed=seed + 100)
    users = np.array([7, 0, 3, 3, 8])
    scores = np.ones((5, 13), dtype=np.float32)
    mask_seen(scores, users, seen, more)
    for row, user in zip(scores, users, strict=True):
        assert_array_equal(np.flatnonzero(np.isinf(row)), np.union1d(seen.of(user), more.of(user)))


def test_users_without_history_are_not_masked() -> None:
    seen = Interactions.from_pairs([1], [2], user_count=3, item_count=4)
    scores = np.zeros((3, 4), dtype=np.float32)
    mask_seen(scores, np.array([0, 1, 2]), seen)
    assert_array_equal(np.argwhere(np.isinf(scores)), [[1, 2]])
    mask_seen(scores, np.array([0, 2, 2]), seen)
    assert np.isinf(scores).sum() == 1


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_ranking_users_in_batches_changes_nothing_and_shows_nothing_seen(
    random_interactions: Draw, batch_size: int
) -> None:
    table = np.random.default_rng(0).random((30, 25)).astype(np.float32)
    seen = random_interactions(30, 25)
    users = np.random.default_rng(1).permutation(30)[:20]
    ranked = rank_users(lambda batch: table[batch], users, 5, seen, batch_size=batch_size)
    masked = table.copy()
    masked[seen.users, seen.items] = -np.inf
    assert_array_equal(ranked, sorted_whole(masked[users], 5))
