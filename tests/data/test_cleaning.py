"""Filters: what leaves is counted, what stays is complete."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glta_cli.core.errors import InputError
from glta_cli.data.cleaning import clean, kcore_mask, number_in_order

pairs = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=80)
cells = st.one_of(st.none(), st.sampled_from(["", "a", "b", "c"]))
rows = st.lists(
    st.tuples(cells, cells, st.one_of(st.none(), st.just(float("nan")), st.floats(1, 5)), st.integers(0, 9)),
    min_size=1,
    max_size=40,
)

COLUMNS = ["user", "item", "split", "rating", "timestamp"]
TYPES = [pl.String, pl.String, pl.String, pl.Float64, pl.Int64]


def table(records: list[tuple]) -> pl.LazyFrame:
    schema = {"user": pl.String, "item": pl.String, "rating": pl.Float64, "timestamp": pl.Int64}
    return pl.LazyFrame(records, schema=schema, orient="row")


def test_every_reason_for_leaving_is_counted():
    cleaned = clean(
        table(
            [
                ("u", "a", 5.0, 10),
                ("", "a", 5.0, 11),
                (None, "a", 5.0, 11),
                ("u", " ", 5.0, 12),
                ("u", "b", float("nan"), 13),
                ("u", "b", None, 13),
                ("u", "b", 4.0, None),
                ("u", "c", 2.0, 14),
                ("u", "a", 4.0, 15),
            ]
        ),
        min_rating=3.0,
        kcore=0,
    )
    assert cleaned.dropped == {
        "missing user": 2,
        "missing item": 1,
        "missing rating": 2,
        "missing timestamp": 1,
        "rating below min_rating": 1,
        "duplicate": 1,
    }
    assert cleaned.interactions.rows() == [(0, 0, 5.0, 10)]


def test_of_two_interactions_with_one_item_the_earlier_in_time_counts():
    cleaned = clean(table([("u", "a", 1.0, 20), ("u", "a", 5.0, 10)]), min_rating=None, kcore=0)
    assert cleaned.interactions["rating"].to_list() == [5.0]
    assert cleaned.dropped == {"duplicate": 1}


def test_a_pair_in_two_parts_of_a_split_stays_in_the_earliest():
    records = [
        ("u", "a", "test", 1),
        ("u", "a", "train", 9),
        ("u", "a", "train", 8),
        ("u", "a", "test", 2),
        ("u", "b", "test", 3),
        ("v", "a", "valid", 4),
        ("v", "a", "test", 5),
    ]
    frame = pl.LazyFrame(records, schema=["user", "item", "split", "timestamp"], orient="row")
    cleaned = clean(frame, min_rating=None, kcore=0)
    assert cleaned.interactions.select("user", "item", "timestamp", "split").rows() == [
        (0, 1, 3, "test"),
        (0, 0, 8, "train"),
        (1, 0, 4, "valid"),
    ]
    assert cleaned.dropped == {"duplicate": 2, "in an earlier part of the split": 2}


@given(st.lists(st.tuples(*[st.integers(0, 5)] * 2, st.sampled_from(["train", "valid", "test"])), min_size=1))
def test_every_pair_that_stays_keeps_its_part(records):
    """Each pair and its part carry a rating of their own, by which the row is known again."""
    known = {key: float(row + 1) for row, key in enumerate(records)}
    rows = [(f"u{user}", f"i{item}", part, known[user, item, part], 0) for user, item, part in records]
    frame = pl.LazyFrame(rows, schema=dict(zip(COLUMNS, TYPES, strict=True)), orient="row")
    cleaned = clean(frame, min_rating=1.5, kcore=2)
    kept = cleaned.interactions
    for user, item, part, rating in kept.select("user", "item", "split", "rating").iter_rows() if kept.height else ():
        pair = int(cleaned.user_ids[user][1:]), int(cleaned.item_ids[item][1:])
        assert known[*pair, part] == rating
        earlier = {"train": [], "valid": ["train"], "test": ["train", "valid"]}[part]
        assert all(known.get((*pair, before), 0.0) < 1.5 for before in earlier)
    assert kept.height + sum(cleaned.dropped.values()) == len(records)


def test_without_times_the_first_in_the_source_counts_and_the_order_stays():
    frame = pl.LazyFrame({"user": ["u", "v", "u", "u"], "item": ["z", "z", "a", "z"]})
    cleaned = clean(frame, min_rating=None, kcore=0)
    assert cleaned.user_ids == ["u", "v"]
    assert cleaned.item_ids == ["z", "a"]
    assert cleaned.interactions.rows() == [(0, 0), (0, 1), (1, 0)]


def test_a_users_rows_stand_in_order_of_time():
    cleaned = clean(table([("u", "late", 5.0, 9), ("u", "early", 5.0, 1)]), min_rating=None, kcore=0)
    assert [cleaned.item_ids[index] for index in cleaned.interactions["item"]] == ["early", "late"]


def test_a_column_without_any_value_counts_as_absent():
    cleaned = clean(table([("u", "a", None, 1), ("u", "b", None, 2)]), min_rating=None, kcore=0)
    assert cleaned.interactions.columns == ["user", "item", "timestamp"]
    assert cleaned.dropped == {}


def test_a_least_rating_without_ratings_is_an_error():
    frame = pl.LazyFrame({"user": ["u"], "item": ["a"]})
    with pytest.raises(InputError, match="there are no ratings") as caught:
        clean(frame, min_rating=4.0, kcore=0)
    assert "--min-rating none" in str(caught.value)


@given(rows, st.sampled_from([None, 3.0]), st.integers(0, 3))
def test_kept_and_dropped_make_up_all_rows(records, min_rating, kcore):
    try:
        cleaned = clean(table(records), min_rating=min_rating, kcore=kcore)
    except InputError:
        assert all(rating is None for _, _, rating, _ in records)
        return
    kept = cleaned.interactions
    assert kept.height + sum(cleaned.dropped.values()) == len(records)
    assert kept.select("user", "item").is_duplicated().sum() == 0
    assert set(kept["user"]) == set(range(len(cleaned.user_ids)))
    assert set(kept["item"]) == set(range(len(cleaned.item_ids)))


def slow_kcore(edges: list[tuple[int, int]], k: int) -> list[tuple[int, int]]:
    while True:
        users = Counter(user for user, _ in edges)
        items = Counter(item for _, item in edges)
        kept = [(user, item) for user, item in edges if users[user] >= k and items[item] >= k]
        if len(kept) == len(edges):
            return kept
        edges = kept


@given(pairs, st.integers(0, 5))
def test_the_k_core_is_the_fixed_point(edges, k):
    users, items = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    mask = kcore_mask(users, items, k)
    assert [edge for edge, inside in zip(edges, mask, strict=True) if inside] == slow_kcore(edges, k)


@given(st.lists(st.integers(0, 12), max_size=60))
def test_numbers_follow_the_order_of_first_appearance(codes):
    numbers, places = number_in_order(np.array(codes, dtype=np.int64))
    kinds = list(dict.fromkeys(codes))
    assert numbers.tolist() == [kinds.index(code) for code in codes]
    assert places.tolist() == [codes.index(kind) for kind in kinds]


def slow_clean(records: list[tuple]) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    """Pairs of complete records in the order of the cleaned table, and the ids in the order of their numbers."""
    complete = [
        (row, user, item, time)
        for row, (user, item, rating, time) in enumerate(records)
        if user and item and rating is not None and rating == rating
    ]
    first: dict[tuple[str, str], tuple[int, int]] = {}
    for row, user, item, time in complete:
        first[user, item] = min(first.get((user, item), (time, row)), (time, row))
    kept = sorted((row, user, item, time) for (user, item), (time, row) in first.items())
    users, items = (list(dict.fromkeys(entry[side] for entry in kept)) for side in (1, 2))
    kept.sort(key=lambda entry: (users.index(entry[1]), entry[3], entry[0]))
    return [(user, item) for _, user, item, _ in kept], users, items


@given(rows)
def test_the_cleaned_table_is_that_of_a_loop_over_records(records):
    if all(rating is None for _, _, rating, _ in records):
        return
    cleaned = clean(table(records), min_rating=None, kcore=0)
    indices = cleaned.interactions.select("user", "item").rows()
    pairs = [(cleaned.user_ids[user], cleaned.item_ids[item]) for user, item in indices]
    assert (pairs, cleaned.user_ids, cleaned.item_ids) == slow_clean(records)
