"""Batches of prompts by length."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from glta_cli.language.batching import length_batches


@given(st.lists(st.integers(1, 40), min_size=1, max_size=50), st.integers(1, 10))
def test_every_prompt_is_in_one_batch_and_no_batch_has_more_tokens_than_allowed(lengths: list[int], size: int) -> None:
    found = [rows.tolist() for rows in length_batches(lengths, size)]
    assert sorted(row for rows in found for row in rows) == list(range(len(lengths)))
    batches = [[lengths[row] for row in rows] for rows in found]
    assert [length for batch in batches for length in batch] == sorted(lengths, reverse=True)
    allowed = size * max(lengths)
    assert all(len(batch) * max(batch) <= allowed for batch in batches)
    # Nor is any smaller than it has to be.
    assert all((len(batch) + 1) * max(batch) > allowed for batch in batches[:-1])


def test_no_prompts_make_no_batch() -> None:
    assert list(length_batches([], 4)) == []
