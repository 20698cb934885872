"""Strings in one buffer: what goes in comes out, and a string is found by bisection."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from glta_cli.serving.string_column import StringColumn

STRINGS = st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=30)


@given(STRINGS)
def test_every_string_comes_back(strings: list[str]) -> None:
    column = StringColumn.of(strings)
    assert len(column) == len(strings)
    assert column.tolist() == strings
    assert [column[position] for position in range(len(strings))] == strings


@given(STRINGS.map(lambda strings: list(dict.fromkeys(strings))), st.text(max_size=3))
def test_a_string_is_found_where_a_list_finds_it(strings: list[str], wanted: str) -> None:
    column = StringColumn.of(strings)
    order = column.order()
    for position, string in enumerate(strings):
        assert column.find(string, order) == position
    assert column.find(wanted, order) == (strings.index(wanted) if wanted in strings else None)
