"""Whatever stands wherever in a recipe: it is a recipe, or the user is told what is wrong with it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from glta_cli.commands.stage import recipe_yaml
from glta_cli.core.errors import InputError, InputErrors
from glta_cli.recipe.files import load_recipe, recipe_from, shipped_recipes
from glta_cli.recipe.positioned_yaml import read_yaml
from glta_cli.recipe.schema import Recipe

LONGEST_MESSAGE = 2000
ALIKE = {
    "derandomize": True,
    "deadline": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}
few = settings(max_examples=200, **ALIKE)
# Each is four recipes.
many = settings(max_examples=5000, **ALIKE)


def paths(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The keys of every section and setting of a model."""
    for name, field in model.model_fields.items():
        yield (*above, name)
        if isinstance(field.default, BaseModel):
            yield from paths(type(field.default), (*above, name))


OPEN = [
    ("dataset", "options", "user"),
    ("graph", "options", "dimension"),
    ("graph", "options", "layers"),
    ("backbone", "lora", "rank"),
    ("backbone", "options", "hidden_size"),
    ("evaluate", "baselines", "ease"),
    ("evaluate", "baselines", "ease", "regularization"),
    ("evaluate", "variants", "mine"),
    ("evaluate", "variants", "mine", "graph"),
    ("evaluate", "variants", "mine", "graph", "encoder"),
    ("evaluate", "grids", "ease"),
    ("evaluate", "grids", "ease", "regularization"),
    ("evaluate", "grids", "lightgcn-bpr", "graph", "temperature"),
    ("loggers", "jsonl"),
    ("loggers", "jsonl", "file"),
]
PATHS = [*paths(Recipe), *OPEN]

words = st.sampled_from(
    ["", "lightgcn", "hccf", "tiny", "none", "huggingface", "minilm", "ease", "popularity", "jsonl", "table", "softmax"]
)
numbers = st.one_of(
    st.integers(-3, 40),
    st.integers(),
    st.sampled_from([2**31 - 1, 2**31, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**400]),
    st.floats(),
)
scalars = st.one_of(st.none(), st.booleans(), numbers, words, st.text(max_size=20))
keys = st.one_of(words, st.text(max_size=8), st.sampled_from(["int", "str", "[key]", "0", "graph", "x.y", "<<"]))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)
plain = st.one_of(
    st.booleans(), st.integers(1, 30), st.floats(0.01, 0.9), words, st.none(), st.text(max_size=20), st.just("a\n b\n")
)


def recipes_of(held: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Recipes with some keys of the schema set, each to a value of the strategy."""
    return st.lists(st.tuples(st.sampled_from(PATHS), held), max_size=5).map(nested)


def nested(pairs: list[tuple[tuple[str, ...], Any]]) -> dict[str, Any]:
    recipe: dict[str, Any] = {}
    for path, value in pairs:
        target = recipe
        for part in path[:-1]:
            if not isinstance(target.get(part), dict):
                target[part] = {}
            target = target[part]
        target[path[-1]] = value
    return recipe


def outcome(make: Any, *arguments: Any) -> Recipe | None:
    """The recipe, which is the same again when it is written and read; or None where an error said why not."""
    try:
        made = make(*arguments)
    except InputError as error:
        errors = error.errors if isinstance(error, InputErrors) else [error]
        assert errors
        for each in errors:
            assert len(str(each)) < LONGEST_MESSAGE
        return None
    recipe: Recipe = getattr(made, "recipe", made)
    dumped = recipe.model_dump(mode="json")
    assert recipe_from(dumped) == recipe
    again, _ = read_yaml(recipe_yaml(recipe), "again")
    assert recipe_from(again) == recipe
    return recipe


def check_values(given_values: dict[str, Any]) -> None:
    outcome(recipe_from, given_values)


def check_file(folder: Path, text: str) -> None:
    path = folder / "mine.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    outcome(load_recipe, str(path))


def check_override(path: tuple[str, ...], text: str) -> None:
    outcome(recipe_from, {}, [f"{'.'.join(path)}={text}"])


@few
@given(recipes_of(values))
def test_any_value_in_any_place_is_a_recipe_or_is_told(recipe):
    check_values(recipe)


@few
@given(recipes_of(values))
def test_any_value_in_a_file_is_a_recipe_or_is_told(tmp_path, recipe):
    check_file(tmp_path, yaml.safe_dump(recipe, allow_unicode=True))


@few
@given(recipes_of(plain))
def test_a_recipe_written_and_read_is_the_same(recipe):
    check_values(recipe)


@few
@given(st.sampled_from(PATHS), st.one_of(st.text(max_size=30), values.map(str)))
def test_any_text_of_an_override_is_a_value_or_is_told(path, text):
    check_override(path, text)


@few
@given(st.sampled_from(sorted(shipped_recipes())), st.integers(0, 2**32))
def test_a_shipped_recipe_with_damage_is_a_recipe_or_is_told(tmp_path, name, seed):
    check_file(tmp_path, damaged(shipped_recipes()[name].read_text(encoding="utf-8"), random.Random(seed)))


def damaged(text: str, chance: random.Random) -> str:
    """A text with some pieces cut out, put twice, or replaced by what means something to YAML."""
    marks = [*"{}[]:,-#&*!|>'\"%@`?~<\t\n \0\x1b\u2028\ufeff\ud800\\", "<<: ", "&a ", "*a", "!!", "---\n", "1e999"]
    for _ in range(chance.randint(1, 6)):
        start = chance.randrange(len(text) + 1)
        end = min(len(text), start + chance.randint(0, 12))
        piece = chance.choice([chance.choice(marks), text[start:end] * 2, ""])
        text = text[:start] + piece + text[end:]
    return text


@pytest.mark.slow
def test_twenty_thousand_recipes_are_recipes_or_are_told(tmp_path):
    @many
    @given(recipes_of(values), recipes_of(plain), st.sampled_from(PATHS), st.text(max_size=30), st.integers(0, 2**32))
    def check(any_recipe, plain_recipe, path, text, seed):
        check_values(any_recipe)
        check_values(plain_recipe)
        check_override(path, text)
        name = sorted(shipped_recipes())[seed % len(shipped_recipes())]
        check_file(tmp_path, damaged(shipped_recipes()[name].read_text(encoding="utf-8"), random.Random(seed)))

    check()
