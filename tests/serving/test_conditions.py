"""Conditions of `--where`: what is written is read, and what cannot be read is refused with an example."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glta_cli.core.errors import InputError
from glta_cli.serving.conditions import Condition, condition_of, conditions_of

WORDS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
ORDER = ("<", "<=", ">", ">=")


@settings(deadline=None)
@given(column=WORDS, operator=st.sampled_from(ORDER), value=WORDS)
def test_a_condition_on_one_value_is_read_as_it_is_written(column: str, operator: str, value: str) -> None:
    condition = Condition(column, operator, (value,))
    assert condition_of(str(condition)) == condition


@settings(deadline=None)
@given(column=WORDS, operator=st.sampled_from(["=", "!="]), values=st.lists(WORDS, min_size=1, max_size=4))
def test_so_is_one_on_several(column: str, operator: str, values: list[str]) -> None:
    condition = Condition(column, operator, tuple(values))
    assert condition_of(str(condition)) == condition


@settings(deadline=None)
@given(text=st.text(max_size=40) | st.text("ab=<>!|\"' ", max_size=20))
def test_any_text_is_a_condition_or_refused(text: str) -> None:
    with contextlib.suppress(InputError):
        condition = condition_of(text)
        assert condition.column
        assert condition.operator in ("=", "!=", *ORDER)
        assert condition_of(str(condition)) == condition


@pytest.mark.parametrize(
    ("text", "column", "operator", "values"),
    [
        ("category=shoes", "category", "=", ("shoes",)),
        ("category == shoes", "category", "=", ("shoes",)),
        (" price <= 20 ", "price", "<=", ("20",)),
        ("brand!=Acme|Borealis", "brand", "!=", ("Acme", "Borealis")),
        ('brand=\'Dune | Sons\'|"a ""b"""', "brand", "=", ("Dune | Sons", 'a "b"')),
        ('"a=b"=c=d', "a=b", "=", ("c=d",)),
        ("size=6'2", "size", "=", ("6'2",)),
        ("released>2024-05|06", "released", ">", ("2024-05|06",)),
    ],
)
def test_blanks_quotes_and_bars_say_what_they_seem_to(
    text: str, column: str, operator: str, values: tuple[str, ...]
) -> None:
    assert condition_of(text) == Condition(column, operator, values)


@pytest.mark.parametrize("words", [("x or", "a"), ("or x", "or"), ("or", "x or"), ("x  or", "or  x")])
def test_a_value_that_ends_or_begins_with_or_is_written_so_that_it_is_read_again(words: tuple[str, str]) -> None:
    read = (Condition(words[1], "=", (words[0],)), Condition(words[1], "!=", words))
    assert conditions_of(" or ".join(map(str, read))) == read


@settings(deadline=None)
@given(
    read=st.lists(
        st.builds(Condition, WORDS, st.sampled_from(["=", "!="]), st.lists(WORDS, min_size=1, max_size=2).map(tuple)),
        min_size=1,
        max_size=4,
    )
)
def test_conditions_with_or_between_them_are_read_as_they_are_written(read: list[Condition]) -> None:
    assert conditions_of(" or ".join(map(str, read))) == tuple(read)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("category=shoes or price<20", ["category=shoes", "price<20"]),
        ("a=1 OR b=2  or\tc!=3|4", ["a=1", "b=2", "c!=3|4"]),
        # Where no condition follows, it is part of the value.
        ("category=Kitchen or Bath", ['category="Kitchen or Bath"']),
        ("category=Kitchen or Bath or price<20", ['category="Kitchen or Bath"', "price<20"]),
        ("this or that=3", ['"this or that"=3']),
        ("brand='x or y=z' or \"a or b\"=c", ['brand="x or y=z"', '"a or b"=c']),
        ("for=corn or orange=or", ["for=corn", "orange=or"]),
    ],
)
def test_an_or_divides_where_conditions_stand_on_both_sides(text: str, read: list[str]) -> None:
    assert list(map(str, conditions_of(text))) == read


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("shoes", "'shoes' is no condition"),
        ("=shoes", "is no condition"),
        ("category=", "names no value"),
        ("category=a||b", "names no value"),
        ('category="shoes', "a quote that is not closed"),
        ('category="shoes" x', "goes on behind a closing quote"),
        ("a=" + "b" * 20_000, "longer than 10,000 characters"),
    ],
)
def test_what_is_no_condition_is_told(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        condition_of(text)
    with pytest.raises(InputError, match=told) as refused:
        conditions_of(text)
    assert refused.value.location == "where"
    assert "such as --where" in str(refused.value.hint)
