"""Recipes: what is wrong is named with its place, what is left out keeps its default."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BeforeValidator, Field, field_validator
from pydantic_core import PydanticCustomError

from glta_cli.core.errors import InputError, InputErrors
from glta_cli.plugin.component import Origin
from glta_cli.plugin.registry import installed
from glta_cli.plugin.settings import Settings
from glta_cli.recipe.automatic import LAYERS, WORDS
from glta_cli.recipe.files import (
    describe_first_line,
    find_recipe,
    load_recipe,
    recipe_folder,
    recipe_from,
    recipe_name,
    shipped_recipes,
)
from glta_cli.recipe.positioned_yaml import read_yaml
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.selection import component_options, own_settings
from glta_cli.recipe.validation import validated

SHIPPED = 16


@pytest.fixture
def written(tmp_path: Path):
    def write(text: str) -> str:
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return str(path)

    return write


def problems(reference: str, *overrides: str) -> list[str]:
    """Every error of a recipe as printed, the folder left out of its location."""
    with pytest.raises(InputErrors) as caught:
        load_recipe(reference, overrides)
    return [str(error).replace(f"{Path(reference).parent}/", "") for error in caught.value.errors]


def test_a_misspelt_key_is_placed_and_the_right_one_suggested(written):
    reference = written("seed: 1\nbackbone:\n  lora:\n    rnak: 8\n")
    assert problems(reference) == ["mine.yaml:4:5: backbone.lora.rnak: unknown key\n  hint: did you mean 'rank'?"]


def test_a_wrong_word_is_shown_beside_those_allowed(written):
    reference = written("graph:\n  loss: sofmax\n")
    assert problems(reference) == [
        "mine.yaml:2:3: graph.loss: 'sofmax' is not one of softmax, bpr\n  hint: did you mean 'softmax'?"
    ]


def test_a_duplicate_key_does_not_silently_win(written):
    reference = written("seed: 1\ngraph:\n  loss: bpr\n  loss: softmax\nseed: 2\n")
    assert problems(reference) == [
        "mine.yaml:4:3: graph.loss: the key stands twice\n  hint: the first is on line 3",
        "mine.yaml:5:1: seed: the key stands twice\n  hint: the first is on line 1",
    ]


@pytest.mark.parametrize("number", ["1e-4", "1.0e-4", "1E-4", "0.0001", ".0001"])
def test_every_spelling_of_a_number_is_a_number(written, number):
    reference = written(f"finetune:\n  training:\n    learning_rate: {number}\n")
    assert load_recipe(reference).recipe.finetune.training.learning_rate == pytest.approx(1e-4)


@pytest.mark.parametrize("word", ["on", "off", "yes", "no", "True", "'true'", "1"])
def test_only_true_and_false_are_booleans(written, word):
    [problem] = problems(written(f"backbone:\n  gradient_checkpointing: {word}\n"))
    assert problem.startswith("mine.yaml:2:3: backbone.gradient_checkpointing: has to be true or false, not")


@pytest.mark.parametrize("number", ["'3'", "3.5", "0x3", "1_0", "2026-01-01"])
def test_a_count_is_taken_as_written(written, number):
    [problem] = problems(written(f"dataset:\n  kcore: {number}\n"))
    assert problem.startswith("mine.yaml:2:3: dataset.kcore: has to be a valid integer, not")


def test_all_errors_of_a_file_come_at_once_in_its_order(written):
    reference = written(
        "graph:\n  options: {layrs: 2}\n  trainng: 3\nseed: -1\ninterests:\n"
        "dataset:\n  name: movielens-100\nbackbone:\n  name: tiny\n  options: {depth: deep}\n"
    )
    assert problems(reference) == [
        "mine.yaml:2:13: graph.options.layrs: unknown key\n  hint: did you mean 'layers'?",
        "mine.yaml:3:3: graph.trainng: unknown key\n  hint: did you mean 'training'?",
        "mine.yaml:4:1: seed: has to be greater than or equal to 0, not -1",
        "mine.yaml:5:1: interests: has to hold keys of its own, not null",
        "mine.yaml:7:3: dataset.name: no dataset is called 'movielens-100'\n  hint: did you mean 'movielens-100k'?",
        "mine.yaml:10:13: backbone.options.depth: has to be a valid integer, not 'deep'",
    ]


def test_a_backbone_that_only_reads_is_no_language_model(written):
    assert problems(written("text:\n  backbone: tiny\nbackbone:\n  name: minilm\n")) == [
        "mine.yaml:4:3: backbone.name: minilm reads texts into vectors but cannot rank\n"
        "  hint: use it as text.backbone, beside a language model"
    ]
    reference = written("text:\n  backbone: minilmm\n  options: {folder: 3}\n")
    assert problems(reference) == [
        "mine.yaml:2:3: text.backbone: no backbone is called 'minilmm'\n  hint: did you mean 'minilm'?"
    ]
    assert problems(reference, "text.backbone=minilm") == [
        "mine.yaml:3:13: text.options.folder: has to be a valid string, not 3"
    ]
    assert problems(written("text:\n  options: {folder: here}\n")) == [
        "mine.yaml:2:3: text.options: there is no text.backbone whose settings they are\n"
        "  hint: the language model's own stand in backbone.options"
    ]


def test_a_union_is_explained_once(written):
    assert problems(written("backbone:\n  lora:\n    modules: all\n")) == [
        "mine.yaml:3:5: backbone.lora.modules: has to be a list or 'all-linear', not 'all'"
    ]


def test_settings_that_contradict_each_other(written):
    assert problems(written("align:\n  least_items: 20\n")) == [
        "mine.yaml:2:3: align.least_items: 20 is more than align.most_items, 12"
    ]
    untrained = "finetune.readout: rows 2 to k would come from positions that were never trained"
    hint = "hint: set finetune.loss=positions"
    reference = written("align:\n  least_items: 20\nfinetune:\n  readout: positions\n")
    assert problems(reference) == [
        "mine.yaml:2:3: align.least_items: 20 is more than align.most_items, 12",
        f"mine.yaml:4:3: {untrained}\n  {hint}",
    ]
    assert problems(written("seed: 1\n"), "finetune.readout=positions") == [
        f"--set finetune.readout: {untrained.removeprefix('finetune.readout: ')}\n  {hint}"
    ]
    assert load_recipe(written("finetune:\n  loss: positions\n  readout: positions\n"))
    seen = "graph.refit: fusion weights are chosen on validation, which a refitted encoder has seen"
    hint = "hint: set finetune.enabled=false, or leave out graph.refit"
    assert problems(written("graph:\n  refit: true\n")) == [f"mine.yaml:2:3: {seen}\n  {hint}"]
    assert load_recipe(written("graph:\n  refit: true\nfinetune:\n  enabled: false\n")).recipe.graph.refit


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- 1\n", "mine.yaml:1:1: a recipe is a mapping of keys to values"),
        ("seed: 1\n graph: 2\n", "mine.yaml:2:7: not valid YAML: mapping values are not allowed here"),
        ("seed: 1\ngraph: \x01\n", "mine.yaml:2:8: not valid YAML: character U+0001 is not allowed"),
        ("seed: &a {b: *a}\n", "mine.yaml:1:7: keys are nested more than 50 deep"),
        (
            "seed: !!python/object/apply:os.getcwd []\n",
            "mine.yaml:1:7: not valid YAML: could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/object/apply:os.getcwd'",
        ),
        (
            "seed: !!binary aGk=\n",
            "mine.yaml:1:7: not valid YAML: could not determine a constructor for the tag 'tag:yaml.org,2002:binary'",
        ),
    ],
)
def test_text_that_is_no_recipe(written, text, problem):
    assert problems(written(text)) == [problem]


def test_a_section_given_in_part_keeps_its_own_defaults(written):
    training = load_recipe(written("graph:\n  training:\n    epochs: 7\n")).recipe.graph.training
    assert training == Recipe().graph.training.model_copy(update={"epochs": 7})
    assert training.batch_size != Recipe().align.training.batch_size


def test_an_empty_recipe_is_the_defaults(written):
    assert load_recipe(written("")).recipe == Recipe()


def test_overrides_reach_any_depth_and_leave_the_file_as_it_is(written):
    reference = written("graph:\n  training:\n    epochs: 7\n")
    changed = load_recipe(reference, ["graph.training.learning_rate=1e-4", "graph.options.layers=2", "seed=5"]).recipe
    assert changed.graph.training.epochs == 7
    assert changed.graph.training.learning_rate == pytest.approx(1e-4)
    assert component_options(changed, "encoder").model_dump()["layers"] == 2
    assert changed.seed == 5
    assert load_recipe(reference).recipe.seed == 0


def test_a_wrong_override_is_placed_at_the_option(written):
    reference = written("seed: 1\n")
    assert problems(reference, "graph.los=bpr") == ["--set graph.los: unknown key\n  hint: did you mean 'loss'?"]
    with pytest.raises(InputError, match="KEY=VALUE"):
        load_recipe(reference, ["seed"])


def test_a_stored_recipe_is_read_back_and_overridden():
    stored = load_recipe("quickstart").recipe.model_dump(mode="json")
    assert recipe_from(stored) == load_recipe("quickstart").recipe
    assert recipe_from(stored, ["seed=3"]).seed == 3
    assert stored["seed"] == 0


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(InputError) as caught:
        find_recipe("quickstrat")
    assert str(caught.value) == "quickstrat: no such recipe\n  hint: did you mean 'quickstart'?"


def test_a_checkout_path_finds_the_shipped_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert recipe_name(find_recipe("recipes/paper/movielens-1m.yaml")) == "paper/movielens-1m"


def test_every_shipped_recipe_is_found():
    assert len(shipped_recipes()) == SHIPPED == len(list(recipe_folder().rglob("*.y*ml")))


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_a_shipped_recipe_is_valid_and_starts_with_its_command(name):
    loaded = load_recipe(name)
    assert loaded.name == name
    program, command, *options = shlex.split(describe_first_line(shipped_recipes()[name]))
    assert program == "glta"
    stages = {"finetune", "recommend", "reproduce"} if loaded.recipe.finetune.enabled else {"evaluate"}
    assert command in stages
    assert options[-2:] == ["--recipe", f"recipes/{name}.yaml"]


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_a_shipped_recipe_restates_no_default(name):
    import yaml

    given = yaml.safe_load(shipped_recipes()[name].read_text())
    names_a_reader_wants_to_see = {"dataset.name", "backbone.name"}
    # Of a file `auto` is the default of these: a value said is one for every machine.
    automatic = {".".join(key) for key in (LAYERS, *WORDS)}
    defaults = {key: value for key, value in leaves(Recipe().model_dump(mode="json")) if key not in automatic}
    restated = {key for key, value in leaves(given) if key in defaults and value == defaults[key]}
    assert restated <= names_a_reader_wants_to_see


def leaves(values: dict, prefix: str = ""):
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


# --------------------------------------------------------------------------------- components with own settings


def test_own_settings_of_a_plugin_are_checked_like_the_core_s(written):
    reference = written("graph:\n  encoder: lightgcn\n  options:\n    layres: 3\n    dimension: 0\n")
    assert problems(reference) == [
        "mine.yaml:4:5: graph.options.layres: unknown key\n  hint: did you mean 'layers'?",
        "mine.yaml:5:5: graph.options.dimension: has to be greater than or equal to 1, not 0",
    ]


@pytest.mark.parametrize(
    "listed",
    [
        "[popularity, ease]",
        "{popularity: , ease: }",
        "{popularity: {}, ease: {regularization: auto}}",
        "[popularity, {ease: {regularization: auto}}]",
        "[popularity, {ease: }]",
    ],
)
def test_components_are_listed_as_names_or_with_settings(written, listed):
    recipe = load_recipe(written(f"evaluate: {{baselines: {listed}}}\n")).recipe
    assert list(recipe.evaluate.baselines) == ["popularity", "ease"]
    settings = own_settings("baseline", "ease", recipe.evaluate.baselines["ease"], ())
    assert settings.model_dump() == {"regularization": "auto", "recency": 1.0}


def test_what_is_wrong_with_a_listed_component_is_placed(written):
    reference = written(
        "evaluate:\n  baselines:\n    eaze:\n    ease:\n      regularisation: 3\n"
        "loggers:\n  jsonl: {file: 7}\n  tensorbord:\n"
    )
    assert problems(reference) == [
        "mine.yaml:3:5: evaluate.baselines.eaze: no baseline is called 'eaze'\n  hint: did you mean 'ease'?",
        "mine.yaml:5:7: evaluate.baselines.ease.regularisation: unknown key\n  hint: did you mean 'regularization'?",
        "mine.yaml:7:11: loggers.jsonl.file: has to be a valid string, not 7",
        "mine.yaml:8:3: loggers.tensorbord: no logger is called 'tensorbord'\n  hint: did you mean 'tensorboard'?",
    ]


@pytest.mark.parametrize(
    ("wrong", "shown", "example"),
    [
        ("jsonl", "'jsonl'", "jsonl"),
        ("3", "3", "NAME"),
        ("", "null", "NAME"),
        ("[3]", "[3]", "NAME"),
        ("[[jsonl]]", '[["jsonl"]]', "NAME"),
        ("[{jsonl: , tensorboard: }]", '[{"jsonl": null, "tensorboard": null}]', "NAME"),
    ],
)
def test_a_list_of_components_of_the_wrong_type_is_an_error(written, wrong, shown, example):
    expected = [
        f"mine.yaml:1:1: loggers: has to be a list of names, or names with settings, not {shown}\n"
        f"  hint: such as loggers=[{example}]"
    ]
    assert problems(written(f"loggers: {wrong}\n")) == expected
    # The setting of one of them does not mend the list.
    assert problems(written(f"loggers: {wrong}\n"), "loggers.jsonl.file=a.jsonl") == expected


def test_a_component_is_listed_once(written):
    reference = written("loggers: [jsonl, {jsonl: {file: a}}]\n")
    assert problems(reference) == ["mine.yaml:1:1: loggers: jsonl: listed more than once"]


@pytest.mark.parametrize("listed", ["{jsonl: 3}", "[{jsonl: 3}]"])
def test_the_settings_of_a_listed_component_are_a_mapping(written, listed):
    [problem] = problems(written(f"loggers: {listed}\n"))
    column = 11 if listed.startswith("{") else 12
    assert problem == f"mine.yaml:1:{column}: loggers.jsonl: has to be a mapping, not 3"
    [problem] = problems(written("seed: 1\n"), f"loggers={listed}")
    assert problem == "--set loggers: loggers.jsonl: has to be a mapping, not 3"


def test_a_name_that_is_no_text_is_an_unknown_name(written):
    [problem] = problems(written("loggers: {3: {}}\n"))
    assert problem.startswith("mine.yaml:1:11: loggers.3: no logger is called '3'")


def test_what_is_wrong_in_a_list_of_names_and_settings_is_placed(written):
    reference = written("evaluate:\n  baselines:\n  - eaze\n  - ease:\n      regularisation: 3\n")
    assert problems(reference) == [
        "mine.yaml:3:5: evaluate.baselines.eaze: no baseline is called 'eaze'\n  hint: did you mean 'ease'?",
        "mine.yaml:5:7: evaluate.baselines.ease.regularisation: unknown key\n  hint: did you mean 'regularization'?",
    ]
    # An override takes the place of what the file has.
    assert problems(reference, "evaluate.baselines=[ease, {popularity: {x: 1}}]") == [
        "--set evaluate.baselines: evaluate.baselines.popularity.x: unknown key"
    ]


def test_a_listed_component_is_set_on_the_command_line():
    recipe = load_recipe("quickstart", ["loggers=[jsonl]", "loggers.jsonl.file=a.jsonl"]).recipe
    assert recipe.loggers == {"jsonl": {"file": "a.jsonl"}}


@pytest.mark.parametrize("listed", ["[popularity, ease]", "{popularity: , ease: }", "[popularity, {ease: {}}]", None])
def test_setting_one_component_on_the_command_line_leaves_the_others(written, listed):
    file = "seed: 1\n" if listed is None else f"evaluate: {{baselines: {listed}}}\n"
    override = "evaluate.baselines.ease.regularization=100"
    both = {"popularity": {}, "ease": {"regularization": 100}}
    loaded = load_recipe(written(file), [override]).recipe
    assert loaded.evaluate.baselines == both
    # As on a run that was stored without it.
    stored = load_recipe(written(file)).recipe.model_dump(mode="json")
    assert recipe_from(stored, [override]) == loaded
    assert "regularization" not in str(stored)


def test_defaults_are_checked_like_what_is_written(written, monkeypatch):
    popularity = installed().find("baseline", "popularity")
    rival = replace(popularity, origin=Origin("rival", "rival", "1.0"))
    monkeypatch.setattr(installed(), "components", [*installed().components, rival])
    [problem] = problems(written("seed: 1\n"))
    assert problem.startswith("evaluate.baselines.popularity: baseline 'popularity' is declared by glta ")
    assert problems(written("evaluate:\n  bootstrap: 5\n"))[0].startswith("mine.yaml:1:1: evaluate.baselines.popul")
    assert load_recipe(written("evaluate: {baselines: [ease]}\n"))


# ------------------------------------------------------------------------------- what settings of plugins may hold


class Inner(Settings):
    size: int = 1
    kind: Literal["plain", "fancy"] = "plain"
    colour: str = Field("red", validation_alias="color")


class Peculiar(Settings):
    """Settings such as the core has none."""

    choices: dict[str, Literal["a", "b"]] = Field({})
    inners: dict[str, Inner] = Field({})
    nested: dict[str, dict[str, int]] = Field({})
    many: list[Inner] = Field([])
    either: Inner | int = 1
    count: dict[str, int] | int = 1
    mode: Literal["slow", "fast"] = Field("slow", alias="pace")
    odd: int = 1
    even: int = 2
    section: Inner = Field(Inner(size=2), alias="part")
    address: str = ""
    short: str = Field("", max_length=3)
    day: Annotated[Any, BeforeValidator(lambda text: Path(text)), AfterValidator(lambda path: refused())] = ""

    @field_validator("odd")
    @classmethod
    def is_odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise AssertionError("must be odd")
        return value

    @field_validator("even")
    @classmethod
    def is_even(cls, value: int) -> int:
        if value % 2:
            raise AssertionError
        return value

    @field_validator("address")
    @classmethod
    def is_address(cls, value: str) -> str:
        if "@" not in value:
            raise PydanticCustomError("value_error", "is no address: {given}", {"given": value})
        return value


def refused() -> None:
    raise PydanticCustomError("refused", "Input should be a better day")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("choices: {q: c}", "11: options.choices.q: 'c' is not one of a, b"),
        ("inners: {q: {sise: 1}}", "14: options.inners.q.sise: unknown key\n  hint: did you mean 'size'?"),
        ("inners: {q: {kind: fanzy}}", "14: options.inners.q.kind: 'fanzy' is not one of plain, fancy\n"),
        ("nested: {int: {a: x}}", "16: options.nested.int.a: has to be a valid integer, not 'x'"),
        ("nested: {str: {none: x}}", "16: options.nested.str.none: has to be a valid integer, not 'x'"),
        ("many: [{sise: 1}]", "9: options.many.0.sise: unknown key\n  hint: did you mean 'size'?"),
        ("either: {sise: 1}", "10: options.either.sise: unknown key\n  hint: did you mean 'size'?"),
        ("either: x", "1: options.either: has to be a mapping or a valid integer, not 'x'"),
        ("count: x", "1: options.count: has to be a mapping or a valid integer, not 'x'"),
        ("count: {int: x}", "9: options.count.int: has to be a valid integer, not 'x'"),
        ("pace: fest", "1: options.pace: 'fest' is not one of slow, fast\n  hint: did you mean 'fast'?"),
        ("paze: fast", "1: options.paze: unknown key\n  hint: did you mean 'pace'?"),
        ("part: {size: x}", "8: options.part.size: has to be a valid integer, not 'x'"),
        ("part: {sise: 1}", "8: options.part.sise: unknown key\n  hint: did you mean 'size'?"),
        ("odd: 2", "1: options.odd: must be odd"),
        ("even: 3", "1: options.even: 3 is refused"),
        ("address: here", "1: options.address: is no address: here"),
        ("short: long", "1: options.short: String should have at most 3 characters"),
        ("day: monday", "1: options.day: has to be a better day, not"),
    ],
)
def test_what_is_wrong_with_peculiar_settings_is_placed_and_explained(line, problem):
    values, positions = read_yaml(line, "mine.yaml")
    positions = {("options", *key): position for key, position in positions.items()}
    with pytest.raises(InputErrors) as caught:
        validated(Peculiar, values, ("options",), positions)
    told = [str(error) for error in caught.value.errors]
    assert any(error.startswith(f"mine.yaml:1:{problem}") for error in told), told


def test_a_section_with_an_alias_keeps_its_own_defaults():
    assert validated(Peculiar, {}, (), {}).section == Inner(size=2)
    changed = validated(Peculiar, {"part": {"kind": "fancy", "color": "blue"}}, (), {}).section
    assert changed == Inner.model_validate({"size": 2, "kind": "fancy", "color": "blue"})
