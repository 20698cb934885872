"""Diversity: what maximal marginal relevance promises, whatever is ranked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal

from glta_cli.answers.question import Question
from glta_cli.core.errors import InputError
from glta_cli.plugin.interactions import Interactions
from glta_cli.serving.diversity import (
    Audiences,
    Diversity,
    candidates_for,
    diversified,
    vector_similarities,
)

ITEMS, DIMENSION = 12, 4
numbers = st.floats(-5, 5, width=32)


def by_the_formula(scores: Any, vectors: Any, k: int, diversity: float) -> list[int]:
    """Maximal marginal relevance, one item after the other, as the paper writes it."""
    likeness = vectors @ vectors.T / np.outer(np.linalg.norm(vectors, axis=1), np.linalg.norm(vectors, axis=1))
    pairs = likeness[np.triu_indices(len(scores), 1)]
    likeness = (likeness - pairs.min()) / (pairs.max() - pairs.min())
    relevance = (scores - scores.min()) / (scores.max() - scores.min())
    taken: list[int] = []
    while len(taken) < k:
        rest = [item for item in range(len(scores)) if item not in taken]
        worth = [
            (1 - diversity) * relevance[i] - diversity * max((likeness[i, j] for j in taken), default=0) for i in rest
        ]
        taken.append(rest[int(np.argmax(worth))])
    return taken


@pytest.mark.parametrize("diversity", [0.1, 0.3, 0.5, 0.9])
def test_each_next_item_is_the_formulas(diversity: float) -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        scores = np.sort(generator.normal(size=ITEMS))[::-1]
        vectors = generator.normal(size=(ITEMS, DIMENSION))
        found = diversified(scores, vector_similarities(vectors), 5, diversity)
        assert found.tolist() == by_the_formula(scores, vectors, 5, diversity)


@settings(deadline=None)
@given(
    scores=arrays(np.float32, ITEMS, elements=numbers),
    vectors=arrays(np.float32, (ITEMS, DIMENSION), elements=numbers),
    diversity=st.floats(0, 1),
    k=st.integers(0, ITEMS + 3),
)
def test_the_best_comes_first_and_nothing_twice(scores: Any, vectors: Any, diversity: float, k: int) -> None:
    best_first = np.sort(scores)[::-1]
    found = diversified(best_first, vector_similarities(vectors), k, diversity)
    assert len(found) == len(set(found.tolist())) == min(k, ITEMS)
    if k:
        assert found[0] == 0
    if diversity == 0:
        assert_array_equal(found, np.arange(min(k, ITEMS)))


def test_candidates_that_nothing_tells_apart_stay_as_they_are() -> None:
    scores = np.arange(ITEMS, dtype=np.float32)[::-1]
    same = np.full((ITEMS, DIMENSION), 0.1, dtype=np.float32)
    for vectors in (same, np.zeros_like(same)):
        assert_array_equal(diversified(scores, vector_similarities(vectors), 6, 0.9), np.arange(6))


def test_the_scale_of_scores_and_vectors_decides_nothing() -> None:
    generator = np.random.default_rng(1)
    scores = np.sort(generator.normal(size=ITEMS))[::-1]
    vectors = generator.normal(size=(ITEMS, DIMENSION))
    found = diversified(scores, vector_similarities(vectors), 6, 0.4)
    assert_array_equal(diversified(1000 * scores + 7, vector_similarities(vectors * 0.01), 6, 0.4), found)


def test_items_met_by_the_same_people_are_alike() -> None:
    pairs = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 2), (3, 1), (3, 2), (3, 2)]
    history = Interactions.from_pairs(*zip(*pairs, strict=True), user_count=4, item_count=5)
    found = Audiences(history).similarities(np.array([1, 0, 2, 4]))
    root = np.sqrt
    expected = [
        [1, 2 / root(6), 1 / root(6), 0],
        [2 / root(6), 1, 0, 0],
        [1 / root(6), 0, 1, 0],
        [0, 0, 0, 0],
    ]
    assert_allclose(found, expected, atol=1e-6)


def test_a_list_is_chosen_from_ten_times_as_many_and_at_least_a_hundred() -> None:
    assert [candidates_for(k) for k in (1, 10, 11, 50)] == [100, 100, 110, 500]


def test_a_list_of_any_length_takes_little_memory() -> None:
    assert [candidates_for(k) for k in (500, 100_000)] == [2_000, 100_000]
    asked: list[int] = []

    def similarities(items: Any) -> Any:
        asked.append(len(items))
        return vector_similarities(np.random.default_rng(0).normal(size=(len(items), 3)))

    scores = np.arange(5_000, dtype=np.float32)[::-1]
    places = Diversity(0.5, similarities).places(np.arange(5_000), scores, 4_000)
    assert asked == [2_000]
    assert sorted(places[:2_000].tolist()) == list(range(2_000))
    assert_array_equal(places[2_000:], np.arange(2_000, 4_000))


@pytest.mark.parametrize("diversity", [-0.1, 1.1, float("nan"), float("inf")])
def test_what_is_no_share_is_refused(diversity: float) -> None:
    with pytest.raises(InputError, match="is not between 0 and 1") as caught:
        Question(diversity=diversity).require_sense()
    assert caught.value.location == "diversity"
    assert caught.value.hint
