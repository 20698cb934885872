"""Slices of the test interactions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from glta_cli.evaluation.slices import slice_metrics, slices_of
from glta_cli.plugin.interactions import Interactions
from glta_cli.ranking.metrics import ranking_metrics


def pairs(interactions: Interactions) -> set[tuple[int, int]]:
    return set(zip(interactions.users.tolist(), interactions.items.tolist(), strict=True))


def test_items_are_divided_by_popularity_and_users_by_length() -> None:
    # Items 0 to 9 with 10, 9, ..., 1 interactions; item 10 with none. User u has the items i with u < 10 - i.
    train = Interactions.from_pairs(
        *zip(*[(user, item) for item in range(10) for user in range(10 - item)], strict=True),
        user_count=12,
        item_count=11,
    )
    test = Interactions.from_pairs([0, 4, 9, 9, 11], [10, 9, 1, 5, 0], user_count=12, item_count=11)
    found = {part.name: part for part in slices_of(train, test)}
    assert pairs(found["cold items"].relevant) == {(0, 10)}
    # Two of ten seen items are a fifth: 0 and 1.
    assert pairs(found["head items"].relevant) == {(9, 1), (11, 0)}
    assert pairs(found["tail items"].relevant) == {(4, 9), (9, 5)}
    # Lengths of the users 0, 4, 9 and 11: 10, 6, 1 and 0.
    assert pairs(found["short histories"].relevant) == {(9, 1), (9, 5), (11, 0)}
    assert pairs(found["long histories"].relevant) == {(0, 10)}


@pytest.mark.parametrize("seed", range(5))
def test_item_slices_are_the_whole_test_split_and_never_overlap(
    random_interactions: Callable[..., Interactions], seed: int
) -> None:
    train = random_interactions(30, 25, share=0.08, seed=seed)
    test = random_interactions(30, 25, share=0.1, seed=seed + 100)
    found = {part.name: pairs(part.relevant) for part in slices_of(train, test)}
    items = [found.get(name, set()) for name in ("cold items", "tail items", "head items")]
    assert set.union(*items) == pairs(test)
    assert sum(map(len, items)) == len(test)


def test_a_slice_without_interactions_is_left_out() -> None:
    train = Interactions.from_pairs([0, 1], [0, 1], user_count=2, item_count=2)
    test = Interactions.from_pairs([0], [1], user_count=2, item_count=2)
    assert "cold items" not in {part.name for part in slices_of(train, test)}


def test_a_slice_s_items_compete_with_the_whole_catalogue(
    random_interactions: Callable[..., Interactions],
) -> None:
    train, test = random_interactions(20, 30, share=0.2, seed=1), random_interactions(20, 30, share=0.2, seed=2)
    users = np.flatnonzero(test.counts)
    ranked = np.stack([np.random.default_rng(user).permutation(30)[:10] for user in users])
    for part in slices_of(train, test):
        values = slice_metrics(ranked, users, part, 10)
        for row, user in enumerate(part.users):
            [place] = np.flatnonzero(users == user)
            relevant = set(part.relevant.of(user).tolist())
            hits = sum(item in relevant for item in ranked[place].tolist())
            assert values["recall@10"][row] == pytest.approx(hits / len(relevant))
        alone = ranking_metrics(ranked[np.searchsorted(users, part.users)], part.users, part.relevant, [10])
        assert values["ndcg@10"].tolist() == alone["ndcg@10"].tolist()
