"""The compressed rows every stage reads."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from glta_cli.plugin.interactions import Interactions

pairs = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), max_size=60)


def test_each_users_items_keep_the_order_they_were_given_in():
    interactions = Interactions.from_pairs([2, 0, 2, 2], [5, 1, 3, 4], user_count=4, item_count=6)
    assert_array_equal(interactions.of(2), [5, 3, 4])
    assert_array_equal(interactions.of(1), [])
    assert_array_equal(interactions.counts, [1, 0, 3, 0])
    assert_array_equal(interactions.users, [0, 2, 2, 2])
    assert (interactions.user_count, interactions.item_count, len(interactions)) == (4, 6, 4)


@given(pairs)
def test_no_pair_is_lost_or_invented(given_pairs):
    users, items = np.array(given_pairs, dtype=np.int64).reshape(-1, 2).T
    interactions = Interactions.from_pairs(users, items, user_count=7, item_count=10)
    assert sorted(zip(interactions.users.tolist(), interactions.items.tolist(), strict=True)) == sorted(given_pairs)
    assert interactions.indptr.dtype == interactions.items.dtype == np.int64
