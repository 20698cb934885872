"""Interactions with weights: repeated ones add up, and what is seen is any of them."""

from __future__ import annotations

import math
from collections import defaultdict

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from glta_cli.data.cleaning import CleanTable, clean

EVENTS = {"view": 1.0, "cart": 2.0, "purchase": 3.0}
ids = st.sampled_from("abcd")
logs = st.lists(st.tuples(ids, ids, st.integers(0, 9), st.sampled_from(sorted(EVENTS))), min_size=1, max_size=40)


def cleaned(log: list[tuple[str, str, int, str]], **more: list[object]) -> CleanTable:
    """The log with its events' weights; purchases alone are seen."""
    columns = {
        "user": [row[0] for row in log],
        "item": [row[1] for row in log],
        "timestamp": [row[2] for row in log],
        "weight": [EVENTS[row[3]] for row in log],
        "seen": [row[3] == "purchase" for row in log],
        **more,
    }
    return clean(pl.LazyFrame(columns), min_rating=None, kcore=0)


def pairs_of(table: CleanTable) -> dict[tuple[str, str], dict[str, object]]:
    rows = table.interactions.to_dicts()
    return {(table.user_ids[row["user"]], table.item_ids[row["item"]]): row for row in rows}


@given(logs)
def test_a_pair_weighs_what_its_events_weigh_together_and_stands_at_the_first_of_the_heaviest(log):
    expected = defaultdict(list)
    for user, item, time, event in log:
        expected[user, item].append((time, event))
    table = cleaned(log)
    assert table.interactions.height + table.added_up == len(log)
    assert table.dropped == {}
    found = pairs_of(table)
    assert found.keys() == expected.keys()
    weights = {pair: sum(EVENTS[event] for _, event in rows) for pair, rows in expected.items()}
    for pair, rows in expected.items():
        heaviest = max(EVENTS[event] for _, event in rows)
        assert found[pair]["timestamp"] == min(time for time, event in rows if EVENTS[event] == heaviest)
        assert found[pair].get("weight", weights[pair]) == weights[pair]
        assert found[pair].get("seen", True) == any(event == "purchase" for _, event in rows)
    assert ("weight" in table.interactions.columns) == (len(set(weights.values())) > 1)


def test_a_users_items_stand_in_the_order_of_their_heaviest_events():
    table = cleaned(
        [("u", "a", 1, "view"), ("u", "b", 2, "purchase"), ("u", "a", 3, "purchase"), ("u", "a", 4, "view")]
    )
    assert [table.item_ids[item] for item in table.interactions["item"]] == ["b", "a"]
    assert table.interactions["weight"].to_list() == [3.0, 5.0]


def test_what_is_the_same_for_all_is_not_written():
    table = cleaned([("u", "a", 1, "purchase"), ("u", "b", 2, "purchase"), ("v", "a", 3, "purchase")])
    assert table.interactions.columns == ["user", "item", "timestamp"]


def test_weights_that_are_no_positive_numbers_are_counted():
    log = [("u", "a", 1, "view")] * 5
    table = cleaned(log, item=list("abcde"), weight=[1.0, 0.0, -2.0, math.inf, None])
    assert table.dropped == {"weight not positive": 4}
    assert table.item_ids == ["a"]


def test_weights_add_up_within_the_earliest_part_of_a_given_split():
    log = [("u", "a", 1, "view"), ("u", "a", 2, "view"), ("u", "a", 3, "purchase"), ("u", "b", 4, "cart")]
    table = cleaned(log, split=["train", "train", "test", "valid"])
    assert table.dropped == {"in an earlier part of the split": 1}
    assert table.added_up == 1
    pair = pairs_of(table)["u", "a"]
    assert (pair["split"], pair["timestamp"]) == ("train", 1)
    assert table.interactions.height + table.added_up + sum(table.dropped.values()) == len(log)


def test_without_weights_the_first_in_time_counts_and_the_others_are_duplicates():
    rows = {"user": list("uuu"), "item": list("aab"), "timestamp": [2, 1, 3], "seen": [True, False, False]}
    table = clean(pl.LazyFrame(rows), min_rating=None, kcore=0)
    assert table.dropped == {"duplicate": 1}
    assert table.added_up == 0
    assert table.interactions.select("timestamp", "seen").rows() == [(1, True), (3, False)]
