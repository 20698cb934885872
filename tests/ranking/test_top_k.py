"""Exact top-k over the whole catalogue, seen items masked."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from glta_cli.core.errors import GltaError
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.scorer import product_scorer
from glta_cli.ranking.top_k import BLOCK, group_maxima, mask_seen, rank_users, top_k

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


@given(data=st.data(), columns=st.integers(40, 400), k=st.integers(1, 12), distinct=st.integers(1, 5))
def test_ties_across_the_last_place_go_to_the_smaller_index(
    data: st.DataObject, columns: int, k: int, distinct: int
) -> None:
    """Wide enough to be ranked by groups, with a few scores in all, so that the k-th best is one of many."""
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    scores = generator.integers(0, distinct, (4, columns)).astype(np.float32)
    ranked = top_k(scores, k)
    assert_array_equal(ranked, sorted_whole(scores, k))
    for row, best in zip(scores, ranked, strict=True):
        last = row[best[-1]]
        left_out = np.setdiff1d(np.flatnonzero(row == last), best)
        assert best[-1] < left_out.min(initial=columns)


@pytest.mark.parametrize("columns", [160, 163, 1000, 4096, 5001])
@pytest.mark.parametrize("kind", ["distinct", "ties", "constant", "masked", "best in one group", "sorted"])
@pytest.mark.parametrize("k", [1, 10, 37])
def test_a_wide_catalogue_is_ranked_as_a_full_sort_ranks_it(columns: int, kind: str, k: int) -> None:
    generator = np.random.default_rng(columns + k)
    scores = generator.normal(size=(9, columns)).astype(np.float32)
    match kind:
        case "ties":
            scores = scores.round(1)
        case "constant":
            scores[::2] = 0.25
        case "masked":
            # Fewer scores left than are asked for, in some rows.
            scores[np.arange(columns) % 50 != np.arange(9)[:, None]] = -np.inf
        case "best in one group":
            scores[:, :: max(1, columns // 16)] += 10
        case "sorted":
            scores.sort(axis=1)
    assert_array_equal(top_k(scores, k), sorted_whole(scores, k))


@given(columns=st.integers(1, 50), data=st.data())
def test_a_groups_maximum_is_that_of_every_nth_column(columns: int, data: st.DataObject) -> None:
    groups = data.draw(st.integers(1, columns))
    scores = np.random.default_rng(columns).normal(size=(3, columns))
    expected = np.stack([scores[:, group::groups].max(axis=1) for group in range(groups)], axis=1)
    assert_array_equal(group_maxima(scores, groups), expected)


@pytest.mark.parametrize("place", [0, 159, 160, 1002])
def test_a_nan_anywhere_in_a_wide_catalogue_is_an_error(place: int) -> None:
    scores = np.zeros((3, 1003), dtype=np.float32)
    scores[1, place] = np.nan
    with pytest.raises(GltaError, match="NaN"):
        top_k(scores, 5)


def test_a_products_scores_are_inner_products() -> None:
    generator = np.random.default_rng(0)
    users, items = (generator.normal(size=(n, 8)).astype(np.float32) for n in (6, 11))
    chosen = np.array([4, 0, 4])
    expected = [[sum(users[user] * item) for item in items] for user in chosen]
    assert_allclose(product_scorer(users, items)(chosen), expected, rtol=1e-5, atol=1e-6)


def test_ranking_takes_no_more_memory_for_more_users() -> None:
    """What the scores of a block take bounds it; a full matrix would take eight times as much and more."""
    vectors = np.random.default_rng(0).normal(size=(8 * BLOCK, 4)).astype(np.float32)
    items = np.random.default_rng(1).normal(size=(5000, 4)).astype(np.float32)
    block = BLOCK * len(items) * 4
    peaks = []
    for users in (2 * BLOCK, 8 * BLOCK):
        tracemalloc.start()
        rank_users(product_scorer(vectors, items), np.arange(users), 10)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + block / 10
    assert peaks[1] < 2.5 * block


def half_tied(rows: int, columns: int) -> NDArray[np.float32]:
    """Every second score is the same; a third of the others lie above it."""
    scores = np.full((rows, columns), 0.25, dtype=np.float32)
    others = np.random.default_rng(0).normal(-0.2, size=(rows, columns // 2)).astype(np.float32)
    scores[:, 1 : 2 * (columns // 2) : 2] = others
    return scores


def few_finite(rows: int, columns: int) -> NDArray[np.float32]:
    """Three scores a row, as of a user who saw nearly everything."""
    scores = np.full((rows, columns), -np.inf, dtype=np.float32)
    places = np.random.default_rng(0).permuted(np.tile(np.arange(columns), (rows, 1)), axis=1)[:, :3]
    np.put_along_axis(scores, places, np.float32([[1, 2, 1]]), axis=1)
    return scores


TIED: dict[str, Callable[[int, int], NDArray[np.float32]]] = {
    "constant": lambda rows, columns: np.zeros((rows, columns), dtype=np.float32),
    "all masked": lambda rows, columns: np.full((rows, columns), -np.inf, dtype=np.float32),
    "few finite": few_finite,
    "half tied below the best": half_tied,
    "half tied at the best": lambda rows, columns: np.minimum(half_tied(rows, columns), np.float32(0.25)),
}


@pytest.mark.parametrize("kind", TIED)
@pytest.mark.parametrize("k", [1, 20])
def test_tied_rows_among_others_are_ranked_as_a_full_sort_ranks_them(kind: str, k: int) -> None:
    scores = np.random.default_rng(1).normal(size=(12, 3001)).astype(np.float32)
    scores[1::2] = TIED[kind](6, 3001)
    assert_array_equal(top_k(scores, k), sorted_whole(scores, k))
    assert_array_equal(top_k(scores[1::2], k), sorted_whole(scores[1::2], k))


@pytest.mark.parametrize("kind", TIED)
def test_tied_rows_take_little_memory_beside_their_scores(kind: str) -> None:
    scores = TIED[kind](BLOCK, 20_000)
    tracemalloc.start()
    ranked = top_k(scores, 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert_array_equal(ranked, sorted_whole(scores, 20))
    assert peak < 0.75 * scores.nbytes


@pytest.mark.parametrize(("shape", "k"), [((3, 5), 0), ((3, 0), 4), ((0, 5), 2), ((0, 0), 2)])
def test_nothing_to_rank_gives_an_empty_ranking(shape: tuple[int, int], k: int) -> None:
    ranked = top_k(np.zeros(shape, dtype=np.float32), k)
    assert ranked.shape == (shape[0], min(k, shape[1]))
    assert ranked.dtype == np.int64


def test_no_users_have_an_empty_ranking(random_interactions: Draw) -> None:
    vectors = np.ones((4, 2), dtype=np.float32)
    ranked = rank_users(product_scorer(vectors, vectors), np.empty(0, dtype=np.int64), 3, random_interactions(4, 4))
    assert ranked.shape == (0, 3)
    assert ranked.dtype == np.int64


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
