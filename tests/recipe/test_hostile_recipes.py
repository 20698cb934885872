"""Recipes made to keep the reader busy, to break it, or to mean something else than they say."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from glta_cli.core.errors import InputError, InputErrors
from glta_cli.plugin.registry import installed
from glta_cli.recipe.files import load_recipe, read_text, recipe_from
from glta_cli.recipe.limits import LARGEST_FILE, MOST_ERRORS_TOLD, MOST_VALUES
from glta_cli.recipe.positioned_yaml import read_yaml
from glta_cli.recipe.schema import Recipe

SECONDS = 2.0  # one on an idle machine; without the limits the slowest took minutes, or did not end


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str | bytes], str]:
    def write(content: str | bytes) -> str:
        path = tmp_path / "mine.yaml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write


def problems(reference: str, *overrides: str) -> list[str]:
    """Every error of a recipe as printed, the folder left out of its location; told at once."""
    installed()  # found once a process
    begun = time.process_time()
    with pytest.raises(InputError) as caught:
        load_recipe(reference, overrides)
    assert time.process_time() - begun < SECONDS
    errors = caught.value.errors if isinstance(caught.value, InputErrors) else [caught.value]
    return [str(error).replace(f"{Path(reference).parent}/", "") for error in errors]


def bomb(indent: str, first: str, *, template: str) -> str:
    """Nine levels of aliases, each ten times the one above: a thousand million values in some hundred bytes."""
    above = (",".join([f"*a{level - 1}"] * 10) for level in range(1, 10))
    levels = (f"{indent}a{level}: &a{level} {template % each}\n" for level, each in enumerate(above, 1))
    return f"{indent}a0: &a0 {first}\n" + "".join(levels)


TOO_MANY = "more than 10,000 keys and values, counting what aliases and merge keys repeat"


@pytest.mark.parametrize("above", ["", "dataset:\n  options:\n"])
@pytest.mark.parametrize(("first", "template"), [("[x, x]", "[%s]"), ("{x: 1}", "{<<: [%s]}"), ("{x: 1}", "{y: [%s]}")])
def test_aliases_that_multiply_are_refused(written, above, first, template):
    [problem] = problems(written(above + bomb("    " if above else "", first, template=template)))
    assert problem.startswith("mine.yaml:")
    assert problem.endswith(TOO_MANY)


def test_an_alias_within_the_limits_repeats_what_it_names(written):
    recipe = load_recipe(
        written(
            "seed: &s 3\n"
            "dataset: {split: {seed: *s}}\n"
            "graph: {training: &t {epochs: 7, batch_size: 9}}\n"
            "align: {training: *t}\n"
            "finetune: {training: {<<: *t, batch_size: 8}}\n"
        )
    ).recipe
    assert (recipe.seed, recipe.dataset.split.seed) == (3, 3)
    assert (recipe.align.training.epochs, recipe.align.training.batch_size) == (7, 9)
    assert (recipe.finetune.training.epochs, recipe.finetune.training.batch_size) == (7, 8)


def test_of_merged_mappings_the_first_takes_precedence_and_each_value_has_its_place(written):
    text = "graph: {training: &a {epochs: 7}}\nalign: {training: &b {epochs: 8, patience: no}}\n"
    reference = written(text + "finetune: {training: {<<: [*a, *b]}}\n")
    assert problems(reference) == [
        f"mine.yaml:2:34: {section}.training.patience: has to be a valid integer, not 'no'"
        for section in ("align", "finetune")
    ]
    text = text.replace(", patience: no", "")
    assert load_recipe(written(text + "finetune: {training: {<<: [*a, *b]}}\n")).recipe.finetune.training.epochs == 7


@pytest.mark.parametrize(
    "content",
    ["# nothing\n" * 5_000_000, "seed: " + "x" * 50_000_000, "evaluate:\n  cutoffs:\n" + "  - 1\n" * 1_000_000],
    ids=["comments", "one string", "a million entries"],
)
def test_a_file_larger_than_a_recipe_is_refused_unread(written, content):
    [problem] = problems(written(content))
    assert problem.startswith(f"mine.yaml: {len(content):,} bytes are no recipe: a recipe has at most 262,144 bytes")


@pytest.mark.parametrize("content", ["#" * LARGEST_FILE, "prompts: {system: " + "x" * (LARGEST_FILE - 19) + "}"])
def test_a_file_as_large_as_a_recipe_may_be_is_read(written, content):
    begun = time.process_time()
    load_recipe(written(content))
    assert time.process_time() - begun < SECONDS


def test_a_list_longer_than_a_recipe_may_hold_is_refused_in_its_place(written):
    [problem] = problems(written("evaluate:\n  cutoffs: [" + "1, " * MOST_VALUES + "]\n"))
    assert problem.startswith("mine.yaml:2:")
    assert problem.endswith(TOO_MANY)


@pytest.mark.parametrize(
    "deep", ["{a: " * 600 + "}" * 600, "[" * 600 + "]" * 600, "[" * 200_000, "[{a: " * 300 + "}]" * 300]
)
@pytest.mark.parametrize("above", ["seed: %s", "dataset: {options: {x: %s}}"])
def test_deep_nesting_is_refused_in_its_place(written, deep, above):
    [problem] = problems(written(above % deep))
    assert problem.startswith("mine.yaml:1:")
    assert problem.endswith("keys are nested more than 50 deep")


def test_an_override_goes_no_deeper_than_a_file(written):
    for key in ("dataset.options" + ".a" * 600, "dataset.options" + ".a" * 45):
        [problem] = problems(written(""), f"{key}=[[[[[[1]]]]]]")
        assert problem.startswith("--set dataset.options.a")
        assert problem.endswith("keys are nested more than 50 deep")


RANGE = "whole numbers go from -9223372036854775808 to 9223372036854775807, and this one has"
HINT = "\n  hint: in quotes it is text"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("9" * 5000, f"{RANGE} 5,000 digits"),
        ("-" + "9" * 5000, f"{RANGE} 5,000 digits"),
        (str(10**400), f"{RANGE} 401 digits"),
        (str(2**64), f"{RANGE} 20 digits"),
        (str(2**63), f"{RANGE} 19 digits"),
    ],
)
def test_a_whole_number_that_is_too_large_is_refused_in_its_place(written, value, problem):
    assert problems(written(f"seed: {value}\n")) == [f"mine.yaml:1:1: seed: {problem}{HINT}"]
    assert problems(written(f"graph:\n  options: {{x: [{value}]}}\n")) == [
        f"mine.yaml:2:17: graph.options.x.0: {problem}{HINT}"
    ]
    [told] = problems(written("seed: 1"), f"seed={value}")
    assert told.startswith("--set seed=")
    assert told.endswith(f": seed: {problem}{HINT}")


def test_the_largest_seed_is_one(written):
    assert load_recipe(written(f"seed: {2**63 - 1}\n")).recipe.seed == 2**63 - 1


@pytest.mark.parametrize(
    ("key", "value", "limit"),
    [
        ("graph.training.epochs", 10**18, 1_000_000),
        ("graph.training.batch_size", 2**31, 2**31 - 1),
        ("evaluate.seeds", 10**6, 1000),
        ("finetune.positions", 10**12, 2**31 - 1),
        ("graph.options.dimension", 10**9, 65_536),
        ("backbone.lora.rank", 2**40, 2**31 - 1),
    ],
)
def test_a_count_has_a_limit_that_is_named(written, key, value, limit):
    [problem] = problems(written(""), f"{key}={value}")
    assert problem == f"--set {key}: has to be less than or equal to {limit}, not {value}"


@pytest.mark.parametrize("key", ["graph.training.learning_rate", "graph.temperature", "dataset.min_rating"])
@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 400 + ".0"])
def test_an_infinite_number_is_refused_in_its_place(written, key, number):
    *above, last = key.split(".")
    text = "".join(f"{'  ' * depth}{part}:\n" for depth, part in enumerate(above)) + f"{'  ' * len(above)}{last}: "
    place = f"mine.yaml:{len(above) + 1}:{2 * len(above) + 1}"
    assert problems(written(f"{text}{number}\n")) == [f"{place}: {key}: a number has to be finite: at most 1.797e308"]
    assert problems(written(f"{text}.inf\n")) == [f"{place}: {key}: has to be a valid number, not '.inf'"]


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 10**400, 2**63, "\ud800"])
def test_a_stored_recipe_is_held_to_the_same(tmp_path, value):
    values = {**Recipe().model_dump(mode="json"), "graph": {"options": {"x": [value]}}}
    with pytest.raises(InputErrors) as caught:
        recipe_from(values, file=tmp_path / "runs" / "mine.json")
    [error] = caught.value.errors
    assert error.location == str(tmp_path / "runs" / "mine.json")
    assert error.problem.startswith("graph.options.x.0: ")


@pytest.mark.parametrize("values", [[], 3, None, {"seed": json.loads("[" * 600 + "]" * 600)}, {"seed": [0] * 20_000}])
def test_a_stored_recipe_may_be_anything(tmp_path, values):
    with pytest.raises(InputErrors) as caught:
        recipe_from(values, file=tmp_path / "mine.json")
    assert {error.location for error in caught.value.errors} == {str(tmp_path / "mine.json")}


def test_settings_are_finite_where_no_file_was_read():
    with pytest.raises(ValueError, match="finite"):
        Recipe.model_validate({"graph": {"temperature": float("inf")}})


def test_of_very_many_errors_the_first_are_told(written):
    keys = "".join(f"key{number}: 1\n" for number in range(4000))
    told = problems(written(keys))
    assert told[0] == "mine.yaml:1:1: key0: unknown key"
    assert len(told) == MOST_ERRORS_TOLD + 1
    assert "3,950 more problems" in told[-1]


@pytest.mark.parametrize("listed", ["baselines", "variants", "grids"])
def test_rows_have_a_limit(written, listed):
    rows = ", ".join(f"r{number}: {{}}" for number in range(2000))
    told = problems(written(f"evaluate: {{{listed}: {{{rows}}}}}\n"))
    assert any(f"evaluate.{listed}: Dictionary should have at most 200 items" in problem for problem in told)


def test_a_grid_of_a_few_lines_is_not_unfolded(written):
    values = ", ".join(map(str, range(1, 200)))
    grid = f"{{dimension: [{values}], layers: [{values}], regularization: [{values}]}}"
    assert problems(written(f"evaluate:\n  grids:\n    lightgcn: {grid}\n")) == [
        "mine.yaml:3:5: evaluate.grids.lightgcn: that makes 7,880,599 combinations, and at most 1,000 are tried\n"
        "  hint: give fewer values for some settings"
    ]


@pytest.mark.parametrize(
    "text",
    [
        f"? {'k' * 100_000}\n: 1\n",
        f"dataset: {{? {'k' * 100_000} : 1}}\n",
        f"graph: {{loss: {'k' * 100_000}}}\n",
        f"graph: {{encoder: {'k' * 100_000}}}\n",
        f"evaluate: {{baselines: [{'k' * 100_000}]}}\n",
        f"evaluate: {{grids: {{ease: {{regularization: {'k' * 100_000}}}}}}}\n",
        f"evaluate: {{variants: {{? {'v' * 1000} : {{? {'k' * 1000} : 1}}}}}}\n",
        f"seed: !{'t' * 100_000} 1\n",
        f"seed: *{'a' * 100_000}\n",
        f"seed: !!int {'x' * 100_000}\n",
    ],
)
def test_an_error_shows_the_start_of_what_is_long(written, text):
    assert all(len(problem) < 1000 for problem in problems(written(text)))
    assert len(problems(written(""), f"{'k' * 5000}={'v' * 5000}")[0]) < 1000
    with pytest.raises(InputError) as caught:
        load_recipe("n" * 100_000)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("graph:\n\tloss: bpr\n", "mine.yaml:2:1: not valid YAML: found character '\\t' that cannot start any token"),
        ("seed: 1\ngraph: \0\n", "mine.yaml:2:8: not valid YAML: character U+0000 is not allowed"),
        (b"seed: 1\n# \xc3\xa9 \xff\n", "mine.yaml:2:5: byte 0xff is not UTF-8\n  hint: save the file as UTF-8"),
        ("hello\n", "mine.yaml:1:1: a recipe is a mapping of keys to values"),
        ("\n- 1\n", "mine.yaml:2:1: a recipe is a mapping of keys to values"),
        ("seed: 1\n---\nseed: 2\n", "mine.yaml:2:1: not valid YAML: but found another document"),
        ("? [a]\n: 1\n", "mine.yaml:1:3: a key is a word or a number"),
        ("? {a: 1}\n: 1\n", "mine.yaml:1:3: a key is a word or a number"),
        ("graph: {<<: 3}\n", "mine.yaml:1:9: graph: what a merge key `<<` brings is a mapping, or a list of mappings"),
        ("graph: &g {<<: *g}\n", "mine.yaml:1:12: keys are nested more than 50 deep"),
        ("seed: *one\n", "mine.yaml:1:7: not valid YAML: found undefined alias 'one'"),
        ("seed: &a 1\ngraph: &a {}\n", "mine.yaml:2:8: not valid YAML: the anchor stands twice"),
        ("seed: 1:30\n", "mine.yaml:1:1: seed: has to be a valid integer, not '1:30'"),
        ("seed: 2026-01-01\n", "mine.yaml:1:1: seed: has to be a valid integer, not '2026-01-01'"),
        ("seed: 0x1f\n", "mine.yaml:1:1: seed: has to be a valid integer, not '0x1f'"),
        ("graph: {refit: yes}\n", "mine.yaml:1:9: graph.refit: has to be true or false, not 'yes'"),
        ("seed: !!int three\n", f"mine.yaml:1:1: seed: 'three' is no whole number{HINT}"),
        ("graph: {refit: !!bool maybe}\n", "mine.yaml:1:9: graph.refit: 'maybe' is neither true nor false"),
        ("graph: {temperature: !!float much}\n", "mine.yaml:1:9: graph.temperature: 'much' is no number"),
        ('seed: "\\UFFFFFFFF"\n', "mine.yaml:1:10: not valid YAML: no such character or number"),
        (f"%YAML {'9' * 5000}.1\n---\n", "mine.yaml:1:7: not valid YAML: no such character or number"),
        (
            'graph: {encoder: "\\ud800"}',
            "mine.yaml:1:9: graph.encoder: the text holds half a character (a lone surrogate)",
        ),
    ],
)
def test_an_oddity_of_yaml_is_told_with_its_place(written, content, problem):
    assert problems(written(content)) == [problem]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_another_encoding_is_told(written, encoding):
    assert problems(written("seed: 1\n".encode(encoding)))[0].startswith("mine.yaml")


def test_a_byte_order_mark_and_line_ends_of_windows_are_read(written):
    reference = written("\ufeffseed: 3\r\ngraph:\r\n  loss: bpr\r\n")
    assert read_text(Path(reference)).startswith("seed")
    assert (load_recipe(reference).recipe.seed, load_recipe(reference).recipe.graph.loss) == (3, "bpr")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("2026-01-01", "2026-01-01"),
        ("1:30", "1:30"),
        ("017", 17),
        ("1_000", "1_000"),
        (".nan", ".nan"),
        ("=", "="),
        ("'3'", "3"),
        ("!!str 3", "3"),
        ("~", None),
        ("1e3", 1000.0),
    ],
)
def test_a_bare_word_is_what_yaml_1_2_takes_it_for(text, value):
    assert read_yaml(f"key: {text}", "f")[0] == {"key": value}


def test_a_key_is_text_whatever_it_looks_like():
    values, positions = read_yaml("{0: a, true: b, null: c, 1.50: d}", "f")
    assert values == {"0": "a", "true": "b", "null": "c", "1.50": "d"}
    assert str(positions["1.50",]) == "f:1:26"


@pytest.mark.parametrize("reference", [".", "/dev/zero", "a\0b", "n" * 5000, "mine.yaml/x"])
def test_what_is_no_file_is_no_recipe(written, monkeypatch, tmp_path, reference):
    written("")
    monkeypatch.chdir(tmp_path)
    [problem] = problems(reference)
    assert "no such recipe" in problem or "a recipe is a file" in problem


def test_no_name_is_no_recipe():
    assert problems("") == [
        "--recipe: no recipe is named\n  hint: name a shipped recipe (`glta recipes`) or a YAML file"
    ]


def test_an_override_sets_one_key(written):
    [problem] = problems(written(""), "seed=1\nother: 2")
    assert problem.endswith("an override sets one key\n  hint: one --set for each")
