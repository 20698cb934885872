"""Histories as a sequence encoder is given them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis.strategies import integers, lists
from torch import Tensor, nn

from glta_cli.graph.embeddings import embeddings_of
from glta_cli.graph.histories import newest_items, next_items, user_states
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.schema import GraphSettings

COUNTS = lists(integers(0, 9), min_size=1, max_size=6)


def histories_of(counts: list[int]) -> Interactions:
    """Users with as many items each, all items different ones: item n is at place n of all interactions."""
    users = np.repeat(np.arange(len(counts)), counts)
    total = len(users)
    return Interactions.from_pairs(users, np.arange(total), user_count=len(counts), item_count=max(1, total))


@settings(deadline=None)
@given(counts=COUNTS, longest=integers(1, 5))
def test_every_item_but_a_history_s_first_is_predicted_once_from_those_before_it(
    counts: list[int], longest: int
) -> None:
    histories = histories_of(counts)
    predicted = next_items(histories, longest)
    targets, inputs = predicted.rows(histories.items), predicted.earlier().rows(histories.items)
    assert targets.shape[1] <= longest
    np.testing.assert_array_equal(targets >= 0, inputs >= 0)
    # Items are numbered along the histories: the one before is the number before.
    np.testing.assert_array_equal(inputs[inputs >= 0], targets[targets >= 0] - 1)
    firsts = histories.indptr[:-1][histories.counts > 0]
    assert sorted(targets[targets >= 0]) == sorted(set(range(len(histories))) - set(firsts))
    for row in targets:
        held = row[row >= 0]
        assert row[: len(row) - len(held)].tolist() == [-1] * (len(row) - len(held))
        assert len(set(histories.users[held])) == 1


def test_what_is_left_over_stands_at_the_beginning_of_a_history() -> None:
    histories = histories_of([8])
    assert sorted(map(tuple, next_items(histories, 3).rows(histories.items).tolist())) == [
        (-1, -1, 1),
        (2, 3, 4),
        (5, 6, 7),
    ]


@settings(deadline=None)
@given(counts=COUNTS, longest=integers(1, 5))
def test_a_user_is_read_by_the_newest_items_in_order(counts: list[int], longest: int) -> None:
    histories = histories_of(counts)
    users = np.flatnonzero(histories.counts)
    rows = newest_items(histories, users, longest).rows(histories.items)
    for user, row in zip(users, rows, strict=True):
        assert row[row >= 0].tolist() == histories.of(int(user))[-longest:].tolist()


class Sums(nn.Module):
    """A state is the running sum of the items' numbers and of one for each."""

    reads_histories = True

    def __init__(self, item_count: int) -> None:
        super().__init__()
        self.given: list[Tensor] = []
        self.vectors = nn.Parameter(torch.stack([torch.arange(item_count), torch.ones(item_count)], 1).float())

    def longest_history(self) -> int:
        return 3

    def items(self) -> Tensor:
        return self.vectors

    def encode(self, histories: Tensor) -> Tensor:
        self.given.append(histories)
        vectors = self.vectors[histories.clamp(min=0)] * (histories >= 0)[:, :, None]
        return vectors.cumsum(1)


def test_a_user_is_the_state_at_the_newest_item() -> None:
    histories = histories_of([2, 0, 5])
    encoder: Any = Sums(7)
    assert user_states(encoder, histories).tolist() == [[0 + 1, 2], [0, 0], [4 + 5 + 6, 3]]
    assert user_states(encoder, histories, np.array([2])).tolist() == [[0, 0], [0, 0], [15, 3]]


def test_one_without_an_item_is_as_the_mean_of_the_others() -> None:
    settings = GraphSettings(loss="bpr")
    found = embeddings_of(Sums(7), settings, histories_of([2, 0, 5]))
    assert found.users.tolist() == [[1, 2], [8, 2.5], [15, 3]]
    nobody = embeddings_of(Sums(7), settings, histories_of([0, 0]))
    assert nobody.users.tolist() == [[0, 0], [0, 0]]
