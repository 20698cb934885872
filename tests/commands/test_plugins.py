"""`glta plugins`: everything installed is a row, and so is everything broken; each component is shown in full."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from pydantic import Field

from glta_cli import __version__
from glta_cli.commands.plugins_show import described, example_of, recipe_line, set_options, settings_of
from glta_cli.plugin import KINDS, DatasetDeclaration, Settings
from glta_cli.plugin.registry import Registry
from glta_cli.recipe.files import recipe_from
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.selection import selections

SECOND_LIGHTGCN = """
from glta_cli.plugin import EncoderDeclaration, hookimpl

@hookimpl
def glta_graph_encoders():
    yield EncoderDeclaration(name="lightgcn", summary="again", target="a:B", config="a:C")
"""

LOST = """
from glta_cli.plugin import DatasetDeclaration, hookimpl

@hookimpl
def glta_datasets():
    yield DatasetDeclaration(name="lost", summary="settings nowhere", target="lost:A", config="lost_settings:B")
"""

BREAKS_HALF_WAY = """
from glta_cli.plugin import LoggerDeclaration, hookimpl

@hookimpl
def glta_loggers():
    yield LoggerDeclaration(name="half", summary="declared before the end", target="half:A", config="half:B")
    raise OSError("/usr/lib/" + 20 * "a_long_folder/" + "lib.so: undefined symbol")
"""


LOGGER = """
from glta_cli.plugin import LoggerDeclaration, hookimpl

@hookimpl
def glta_loggers():
    yield LoggerDeclaration(name="doubled", summary="a logger", target="a:B", config="a:C")
"""


@pytest.fixture(autouse=True)
def own_plugins_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else is installed where the tests run."""
    monkeypatch.setenv("GLTA_LOAD_PLUGINS", "")


def distribution(folder: Path, name: str, **sources: str) -> None:
    """Write a distribution with an entry point for each of its modules."""
    for module, source in sources.items():
        (folder / f"{module}.py").write_text(source)
    info = folder / f"{name}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[glta]\n" + "".join(f"{module} = {module}\n" for module in sources))


@pytest.fixture
def site(tmp_path: Path) -> dict[str, str]:
    """The environment of a command with distributions that are broken in one way each, and one that clashes."""
    distribution(tmp_path, "wrecked", wrecked="import a_package_nobody_has\n")
    distribution(tmp_path, "rival", rival=SECOND_LIGHTGCN)
    distribution(tmp_path, "lost", lost=LOST)
    distribution(tmp_path, "half", half=BREAKS_HALF_WAY)
    return {"PYTHONPATH": str(tmp_path), "GLTA_LOAD_PLUGINS": "wrecked,rival,lost,half"}


def test_the_json_has_a_row_for_every_component(glta):
    rows = glta("plugins", "--json").json
    assert all(set(row) == {"name", "kind", "distribution", "version", "status", "summary"} for row in rows)
    assert {(row["kind"], row["name"], row["distribution"], row["status"]) for row in rows} >= {
        ("encoder", "lightgcn", "glta", "ok"),
        ("backbone", "smollm2", "glta", "ok"),
        ("dataset", "amazon-sports", "glta", "ok"),
    }
    assert all(row["summary"] for row in rows)


def test_the_table_folds_large_families_and_puts_datasets_last(glta):
    shown = glta("plugins").out
    assert "amazon-... (" in shown
    assert "amazon-sports" not in shown
    assert "movielens-100k" in shown
    assert shown.index("lightgcn") < shown.index("smollm2") < shown.index("movielens-100k")
    assert max(map(len, shown.splitlines())) <= 80


def test_a_kind_is_shown_in_full(glta):
    shown = glta("plugins", "--kind", "dataset").out
    assert "amazon-sports" in shown
    assert "simgcl" not in shown
    assert {row["kind"] for row in glta("plugins", "--kind", "encoder", "--json").json} == {"encoder"}


@pytest.mark.parametrize("command", [["--kind", "encoders"], ["show", "encoders", "x"], ["new", "encoders", "x"]])
def test_an_unknown_kind_is_the_users_error(glta, command):
    finished = glta("plugins", *command)
    assert finished.code == 2
    location = "--kind" if command[0] == "--kind" else "KIND"
    assert finished.err == (
        f"{location}: 'encoders' is not one of {', '.join(KINDS)}\n  hint: did you mean 'encoder'?\n"
    )


def test_all_kinds_are_listed_and_named_in_the_help(glta):
    assert {row["kind"] for row in glta("plugins", "--json").json} == set(KINDS)
    for command in ([], ["show"], ["new"]):
        text = " ".join(glta("plugins", *command, "--help").out.split())
        assert f"{', '.join(KINDS[:-1])} or {KINDS[-1]}." in text
        assert f"Example: {' '.join(['glta plugins', *command])}" in text


def test_broken_and_clashing_plugins_are_rows_with_the_reason(glta, site):
    rows = glta("plugins", "--json", **site).json
    [broken] = [row for row in rows if row["distribution"] == "wrecked"]
    assert broken["kind"] == "plugin"
    assert broken["status"] == "broken: ModuleNotFoundError: No module named 'a_package_nobody_has'"
    clash = {row["distribution"]: row["status"] for row in rows if row["name"] == "lightgcn"}
    assert clash == {
        "glta": "conflict: also declared by rival 1.2",
        "rival": f"conflict: also declared by glta {__version__}",
    }


def test_a_clash_inside_one_distribution_is_told_as_such(glta, tmp_path):
    distribution(tmp_path, "twice", first=LOGGER, second=LOGGER)
    distribution(tmp_path, "thrice", third=LOGGER, fourth=LOGGER, fifth=LOGGER)
    environment = {"PYTHONPATH": str(tmp_path)}

    def status(names: str) -> dict[str, str]:
        rows = glta("plugins", "--json", **environment, GLTA_LOAD_PLUGINS=names).json
        return {row["distribution"]: row["status"] for row in rows if row["name"] == "doubled"}

    assert status("twice") == {"twice": "conflict: declared twice by twice 1.2"}
    assert status("first") == {"twice": "ok"}
    assert status("twice,thrice") == {
        "twice": "conflict: declared twice by twice 1.2, also declared by thrice 1.2",
        "thrice": "conflict: declared 3 times by thrice 1.2, also declared by twice 1.2",
    }


@pytest.mark.parametrize("option", [["--json"], ["--kind", "encoder"]])
@pytest.mark.parametrize("command", [["show", "encoder", "lightgcn"], ["new", "encoder", "mine"]])
def test_an_option_of_the_list_is_refused_before_a_subcommand(glta, option, command):
    finished = glta("plugins", *option, *command)
    assert (finished.code, finished.out) == (2, "")
    assert finished.err == (
        f"{option[0]}: is an option of the list, not of `{command[0]}`\n"
        f"  hint: `glta plugins {command[0]} --help` shows what may stand after it\n"
    )
    assert list(glta.folder.iterdir()) == []


@pytest.mark.parametrize("kind", [[], ["--kind", "logger"], ["--kind", "encoder"]])
def test_causes_are_readable_in_eighty_columns_whatever_kind_is_asked_for(glta, site, kind):
    finished = glta("plugins", *kind, **site)
    assert finished.code == 0
    assert finished.err == ""
    assert max(map(len, finished.out.splitlines())) <= 80
    assert "…" not in finished.out
    # Folded words and cells are joined again: nothing of a cause is lost.
    table = finished.out.partition("status")[2]
    shown = "".join(line.strip().removeprefix("half 1.2").strip() for line in table.splitlines())
    assert "broken:OSError:/usr/lib/" + 13 * "a_long_folder/" in shown.replace(" ", "")
    assert "No module named 'a_package_nobody_has'" in " ".join(table.split())


def test_a_broken_plugin_is_a_warning_elsewhere(glta, site):
    finished = glta("recipes", "validate", "movielens-1m", **site)
    warnings = [line for line in finished.err.splitlines() if line.startswith("warning: ")]
    assert [line.split()[2] for line in warnings] == ["half", "wrecked"]
    assert warnings[1] == (
        "warning: plugin wrecked 1.2 is disabled: ModuleNotFoundError: No module named 'a_package_nobody_has'"
    )
    assert "graph.encoder: encoder 'lightgcn' is declared by" in finished.err
    assert finished.code == 2


# ---------------------------------------------------------------------------------------------------------- show


def test_one_component_is_shown_in_full(glta):
    shown = glta("plugins", "show", "encoder", "lightgcn").out
    assert max(map(len, shown.splitlines())) <= 80
    assert shown.startswith("encoder lightgcn: LightGCN: propagation without weights")
    assert "glta_encoders.lightgcn:LightGCN" in shown
    assert "graph: {encoder: lightgcn, options: {dimension: 64}}" in shown
    assert "--set graph.encoder=lightgcn --set graph.options.dimension=64" in shown
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in shown.splitlines() if line.strip()}
    assert rows["layers"].startswith("integer >= 0 and <= 1000 2 propagations; 0 is matrix")
    assert rows["regularization"].startswith("number >= 0 0.0001 weight of")
    assert rows["start"].startswith("one of spectral, random spectral initial")


def test_the_json_of_a_component(glta):
    found = glta("plugins", "show", "logger", "jsonl", "--json").json
    description = found["settings"][0].pop("description")
    assert "folder for logs" in description
    assert found.pop("summary")
    assert found.pop("version")
    assert found == {
        "kind": "logger",
        "name": "jsonl",
        "distribution": "glta",
        "entry_point": "loggers",
        "target": "glta_loggers.jsonl:JsonLines",
        "config": "glta_loggers.settings:JsonLinesSettings",
        "extra": None,
        "recipe": "loggers: {jsonl: {file: stages.jsonl}}",
        "set": "--set 'loggers={jsonl: {file: stages.jsonl}}'",
        "grid": {},
        "settings": [{"name": "file", "type": "text", "default": "stages.jsonl", "required": False}],
    }


def test_what_a_component_needs_is_said(glta):
    assert "  needs         pip install 'glta[tensorboard]'\n" in glta("plugins", "show", "logger", "tensorboard").out
    assert "pip install" not in glta("plugins", "show", "logger", "jsonl").out


def test_the_grid_that_is_tried_is_shown(glta):
    grid = {"neighbours": [20, 50, 100, 200], "shrink": [10.0, 100.0, 300.0]}
    assert glta("plugins", "show", "baseline", "item-knn", "--json").json["grid"] == grid
    line = "  --tune tries  {neighbours: [20, 50, 100, 200], shrink: [10.0, 100.0, 300.0]}\n"
    assert line in glta("plugins", "show", "baseline", "item-knn").out
    assert "--tune" not in glta("plugins", "show", "baseline", "popularity").out


def test_a_component_without_settings_says_so(glta):
    shown = glta("plugins", "show", "baseline", "popularity").out
    assert shown.endswith("\nIt has no settings.\n")
    assert "--set 'evaluate.baselines=[popularity]'" in shown


def test_every_selection_that_is_shown_selects_the_component():
    for component in Registry().components:
        found = described(component)
        section, name = yaml.safe_load(found["recipe"]), component.name
        changes = [word for word in shlex.split(found["set"]) if word != "--set"]
        for recipe in (recipe_from(section), recipe_from({}, changes)):
            selected = {(one.kind, one.name) for one in selections(recipe.model_dump(mode="json"))}
            assert (component.kind, name) in selected
        assert recipe_from(section) == recipe_from({}, changes)


def modules_after(*arguments: str) -> set[str]:
    code = (
        "import sys, atexit; atexit.register(lambda: print(*sys.modules, file=sys.stderr));"
        "sys.argv = ['glta', 'plugins', *sys.argv[1:]]; from glta_cli.main import main; main()"
    )
    finished = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert finished.returncode == 0
    return set(finished.stderr.split())


@pytest.mark.parametrize("selected", ["encoder lightgcn", "backbone huggingface", "logger tensorboard"])
def test_showing_loads_no_torch(selected):
    assert not {"torch", "transformers", "polars", "numpy"} & modules_after("show", *selected.split())


@pytest.mark.parametrize("command", [[], ["show"], ["new"]])
def test_help_loads_nothing_heavy(command):
    heavy = {"torch", "transformers", "pydantic", "polars", "numpy", "rich", "pluggy", "yaml", "glta_cli.plugin"}
    assert not heavy & modules_after(*command, "--help")


@pytest.mark.parametrize(
    ("kind", "name", "code", "message"),
    [
        ("encoder", "lightgcm", 2, "no encoder is called 'lightgcm'\n  hint: did you mean 'lightgcn'?\n"),
        (
            "encoder",
            "lightgcn",
            2,
            f"encoder 'lightgcn' is declared by glta {__version__} and rival 1.2\n  hint: uninstall one",
        ),
        ("logger", "half", 2, "logger 'half' belongs to the plugin half 1.2, which is disabled: OSError: /usr/lib/"),
        ("dataset", "lost", 1, "dataset 'lost' of lost 1.2 cannot be imported: ModuleNotFoundError: No module named"),
    ],
)
def test_what_cannot_be_shown_is_an_error_with_its_cause(glta, site, kind, name, code, message):
    finished = glta("plugins", "show", kind, name, **(site if name != "lightgcm" else {}))
    assert finished.code == code
    assert finished.out == ""
    assert finished.err.startswith(message)


class Inner(Settings):
    rank: int = Field(8, ge=1, description="of every adapter")
    rate: float = Field(0.5, gt=0, lt=1)


class Outer(Settings):
    needed: int
    words: tuple[str, ...] | Literal["all"] = "all"
    pair: tuple[int, float] = (1, 2.0)
    switch: bool | None = None
    many: list[int] = Field(default_factory=lambda: [1, 2], min_length=1)
    named: dict[str, int] = Field({})
    free: dict[str, Any] = Field({})
    whatever: Any = None
    code: str = Field("ab", pattern="[a-z]+")
    even: int = Field(2, multiple_of=2, le=10)
    inner: Inner = Inner(rank=4)
    maybe: Inner | None = Field(None, description="null keeps  it\noff")
    choice: Literal["one", "two", 3] = "one"


class WithAnOptionalSection(Settings):
    words: int = 3
    maybe: Outer | None = None


class NoSettings(Settings):
    pass


class Tree(Settings):
    depth: int = 1
    child: Tree | None = None


def test_types_are_told_in_the_words_of_a_recipe():
    rows = {row["name"]: (row["type"], row["default"], row["required"]) for row in settings_of(Outer)}
    assert rows == {
        "needed": ("integer", None, True),
        "words": ("list of text or all", "all", False),
        "pair": ("list of integer, number", [1, 2.0], False),
        "switch": ("true or false or null", None, False),
        "many": ("list of integer, at least 1", [1, 2], False),
        "named": ("mapping of names to integer", {}, False),
        "free": ("mapping", {}, False),
        "whatever": ("anything", None, False),
        "code": ("text like [a-z]+", "ab", False),
        "even": ("integer <= 10 and a multiple of 2", 2, False),
        # The section's own default wins over that of its class.
        "inner.rank": ("integer >= 1", 4, False),
        "inner.rate": ("number > 0 and < 1", 0.5, False),
        "maybe": ("section or null", None, False),
        "maybe.rank": ("integer >= 1", 8, False),
        "maybe.rate": ("number > 0 and < 1", 0.5, False),
        "choice": ("one of one, two, 3", "one", False),
    }
    assert {row["description"] for row in settings_of(Outer)} == {"", "of every adapter", "null keeps it off"}


def test_settings_inside_settings_of_their_own_class_end():
    assert [row["name"] for row in settings_of(Tree)] == ["depth", "child"]


def test_an_example_holds_what_is_required_and_only_that():
    for model, expected in [
        (Outer, {"needed": "NEEDED"}),
        (WithAnOptionalSection, {"words": 3}),
        (Inner, {"rank": 8}),
        (NoSettings, {}),
    ]:
        assert example_of(model, list(settings_of(model))) == expected
    dotted = DatasetDeclaration(name="a.b", summary="s", target="a:B", config="a:C")
    assert set_options(dotted, {"x.y": "on", "z": 1}) == (
        "--set dataset.name=a.b --set 'dataset.options.x.y='\"'\"'on'\"'\"'' --set dataset.options.z=1"
    )
    assert recipe_line(dotted, {"x.y": "on", "z": 1}) == ("dataset: {name: a.b, options: {x: {y: 'on'}, z: 1}}")


def test_every_setting_of_a_recipe_can_be_told():
    rows = {row["name"]: row for row in settings_of(Recipe)}
    assert rows["graph.training.learning_rate"]["default"] == Recipe().graph.training.learning_rate
    assert rows["backbone.lora.rank"]["type"] == "integer >= 1 and <= 2147483647"
    assert rows["evaluate.cutoffs"]["type"] == "list of integer >= 1 and <= 2147483647, at least 1, at most 100"
