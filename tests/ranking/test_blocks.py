"""A ranking in the memory that a setting names: the same lists, and never more scores at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from numpy.typing import NDArray

from glta_cli.core.errors import InputError
from glta_cli.plugin import Interactions, product_scorer
from glta_cli.plugin.scorer import ProductScorer
from glta_cli.ranking.top_k import mask_seen, rank_users, top_k

USERS = 9


def drawn(generator: np.random.Generator, items: int) -> tuple[ProductScorer, Interactions]:
    """Scores of few values, so that there are ties, of items in any number; a third of the items seen."""
    users, vectors = (generator.integers(-1, 2, (count, 3)).astype(np.float32) for count in (USERS, items))
    rows, columns = np.nonzero(generator.random((USERS, items)) < 0.3)
    return product_scorer(users, vectors), Interactions.from_pairs(rows, columns, user_count=USERS, item_count=items)


@given(seed=st.integers(0, 10_000), items=st.integers(1, 90), k=st.integers(1, 30), block=st.integers(1, 40))
def test_a_ranking_in_blocks_of_items_is_that_of_the_whole_catalogue(seed: int, items: int, k: int, block: int) -> None:
    score, seen = drawn(np.random.default_rng(seed), items)
    users = np.arange(USERS)[::-1].copy()
    whole = score(users)
    mask_seen(whole, users, seen)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("glta_cli.ranking.blocks.LEAST_ITEMS", block)
        patch.setattr("glta_cli.ranking.blocks.scores_at_once", lambda: 1)
        assert_array_equal(rank_users(score, users, k, seen), top_k(whole, k))


def test_no_more_scores_are_held_than_the_setting_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLTA_SCORES_MIB", "1")
    items = 100_000
    score, seen = drawn(np.random.default_rng(0), items)
    users = np.arange(USERS)
    held: list[int] = []

    def among(self: ProductScorer, batch: NDArray[np.int64], part: slice) -> NDArray[np.float32]:
        held.append(len(batch) * (part.stop - part.start) * 4)
        return self.users[batch] @ self.columns[:, part]

    monkeypatch.setattr(ProductScorer, "among", among)
    in_blocks = rank_users(score, users, 5, seen, batch_size=USERS)
    assert max(held) <= 1 << 20
    assert len(held) == 4

    def rows(batch: NDArray[np.int64]) -> NDArray[np.float32]:
        held.append(len(batch) * items * 4)
        return score(batch)

    held.clear()
    assert_array_equal(rank_users(rows, users, 5, seen), in_blocks)
    assert max(held) <= 1 << 20
    assert len(held) == 5  # two users at once


def test_a_small_catalogue_is_ranked_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    score, seen = drawn(np.random.default_rng(0), 500)
    monkeypatch.setattr(ProductScorer, "among", None)
    assert rank_users(score, np.arange(USERS), 5, seen).shape == (USERS, 5)


@pytest.mark.parametrize("given", ["0", "-1", "much", "1.5"])
def test_a_setting_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("GLTA_SCORES_MIB", given)
    score, seen = drawn(np.random.default_rng(0), 10)
    with pytest.raises(InputError, match="no whole number of MiB above 0") as told:
        rank_users(score, np.arange(USERS), 5, seen)
    assert told.value.location == "GLTA_SCORES_MIB"
