"""An item file that speaks of other items is told, with what makes the ids differ."""

from __future__ import annotations

import pytest

from glta_cli.data.item_matches import match_warnings

LOG = [str(item) for item in range(40, 0, -1)]


@pytest.mark.parametrize(
    ("log", "items", "reason"),
    [
        (LOG, [f"{int(item):04d}" for item in LOG], "leading zeros"),
        ([f"i{item}" for item in LOG], [f"I{item}" for item in LOG], "case"),
        (LOG, [f"{item}\u200b" for item in LOG], "blanks"),
        ([f"a {item}" for item in LOG], [f"a{item}" for item in LOG], "blanks"),
        ([f"\u00e9{item}" for item in LOG], [f"e\u0301{item}" for item in LOG], "Unicode form"),
        ([f"20{int(item):03d}" for item in LOG], [f"20,{int(item):03d}" for item in LOG], "thousands separators"),
    ],
)
def test_ids_that_differ_in_their_writing_alone_are_told(log, items, reason):
    (told,) = match_warnings(log, items, "items.csv")
    assert told.startswith("0 of 40 items of the log are in items.csv; log: ")
    assert f"differ in {reason} alone" in told
    assert ", ".join(items[:3]) in told


def test_other_items_are_told_without_a_reason():
    (told,) = match_warnings(LOG, [*LOG[:2], "x1", None, "", "x2"], "items.csv")
    assert told == "2 of 40 items of the log are in items.csv; log: 38, 37, 36; items: x1, x2"


@pytest.mark.parametrize("items", [LOG, LOG[:3], [*LOG[:20], "x"], [None, ""], []])
def test_items_that_match_or_are_few_are_told_of_nothing(items):
    assert match_warnings(LOG, items, "items.csv") == []
