"""What the time of a first recipe is estimated from: users, items and histories of files as they were seen."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from glta_cli.stages.first_estimate import LookedAt


def log() -> pl.DataFrame:
    """Repeated pairs, rows without a user, somebody with one item and somebody with two."""
    draw = np.random.default_rng(0)
    users = [f"u{n}" for n in draw.integers(0, 30, 200)] + [None, "solo", "pair", "pair"]
    items = [f"i{n}" for n in draw.integers(0, 20, 200)] + ["lost", "i1", "i3", "i4"]
    return pl.DataFrame({"user": users, "item": items})


def looked_at(frame: pl.DataFrame) -> LookedAt:
    return LookedAt(SimpleNamespace(raw=SimpleNamespace(interactions=frame.lazy(), items=None)))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [pl.String(), pl.Categorical()])
def test_histories_are_counted_without_repeated_pairs_and_two_are_held_out(kind):
    frame = log()
    found = looked_at(frame.cast(kind))
    pairs = set(frame.drop_nulls().rows())
    counts = Counter(user for user, _ in pairs)

    assert (found.user_count, found.item_count) == (len(counts), len({item for _, item in pairs}))
    train, valid = found.split("train"), found.split("valid")
    assert sorted(train.counts) == sorted(max(count - 2, 0) for count in counts.values())
    assert sorted(valid.counts) == sorted(2 if count > 2 else 0 for count in counts.values())
    assert (len(train.items), len(valid.items)) == (train.indptr[-1], valid.indptr[-1])
    both = [*zip(train.users, train.items, strict=True), *zip(valid.users, valid.items, strict=True)]
    assert len(set(both)) == len(both)
    assert max(train.items) < found.item_count


def test_a_log_without_a_row_has_nobody():
    found = looked_at(log().clear())
    assert (found.user_count, found.item_count, len(found.split("train").items)) == (0, 0, 0)
