"""Plugins as their users have them: wheels of glta and of others' packages, installed in an environment of their own.

What glta depends on comes from the running environment; glta itself, from its wheel. Plugins that are installed in the
running environment stay out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PathDistribution
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml

from glta_cli import __version__
from glta_cli.plugin import ENTRY_POINT_GROUP

pytestmark = pytest.mark.xdist_group("installed")

# Distributions of tests/broken_plugins, each broken in one way, and what glta says of it.
BROKEN = {
    "glta-declared-twice": "encoder 'declared-twice' is declared twice",
    "glta-endless-recursion": "RecursionError: maximum recursion depth exceeded",
    "glta-exit-at-import": "SystemExit: no licence found",
    "glta-misspelt-hook": "there is no hook called 'glta_graph_encoder'; did you mean 'glta_graph_encoders'?",
    "glta-missing-attribute": "AttributeError: module 'glta_missing_attribute' has no attribute 'plugin'",
    "glta-missing-field": "TypeError: EncoderDeclaration.__init__() missing 1 required keyword-only argument: 'config'",
    "glta-missing-import": "ModuleNotFoundError: No module named 'a_package_nobody_has'",
    "glta-no-colon": "target is 'glta_no_colon.encoder', not package.module:Name",
    "glta-no-declaration": "which declares no encoder",
    "glta-no-hookimpl": "declares nothing: is @hookimpl missing, or does its hook yield nothing?",
    "glta-old-argument": "Argument(s) {'registry'} are declared in the hookimpl but can not be found in the hookspec",
    "glta-other-version": "was written for version 99 of the plugin API; this glta speaks 1",
    "glta-raising-hook": "ValueError: no second encoder",
    "glta-syntax-error": "SyntaxError: invalid syntax",
    "glta-wrong-kind": "which declares no encoder",
}
# These load; the first two are broken for those who select them, the third only talks.
LOADABLE = ("glta-missing-target", "glta-plain-settings", "glta-prints")
SAID = ["hello from glta-prints", "hello from its hook"]
RIVAL = "glta-rival"
# What `glta plugins new encoder mine` writes.
NEW = "glta-mine"

MODULES_AFTER = """
import atexit, sys
atexit.register(lambda: print("modules:", *sys.modules, file=sys.stderr))
sys.argv = ["glta", *{arguments!r}]
from glta_cli.main import main
main()
"""


class Installation:
    """A virtual environment with the wheels given, and the commands in it."""

    def __init__(self, folder: Path, wheels: Iterable[Path]) -> None:
        self.folder = folder
        run(sys.executable, "-m", "venv", "--without-pip", folder)
        self.python = folder / "bin" / "python"
        self.pip("install", "--no-deps", "--no-index", *wheels)
        # After pip, which would otherwise find the glta of the running environment installed. Python adds what a
        # .pth file names to the end of its path, and reads no .pth files there: an editable glta stays unseen.
        [packages] = folder.glob("lib/python*/site-packages")
        libraries = folder / "running"
        libraries.mkdir()
        for library in running_libraries():
            (libraries / library.name).symlink_to(library)
        (packages / "running.pth").write_text(str(libraries))

    def pip(self, *arguments: str | Path) -> None:
        run(sys.executable, "-m", "pip", "--python", self.python, "--disable-pip-version-check", *arguments)

    def glta(self, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.folder / "bin" / "glta", *arguments],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=outside_environment() | {"GLTA_DATA_DIR": str(self.folder / "workspace"), **environment},
        )

    def pytest(self, project: Path) -> subprocess.CompletedProcess[str]:
        """Run the tests of a project on what is installed here, and leave nothing in its folder."""
        return subprocess.run(
            [
                self.python,
                "-m",
                "pytest",
                "-p",
                "no:cacheprovider",
                "-c",
                project / "pyproject.toml",
                project / "tests",
            ],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=outside_environment() | {"PYTHONDONTWRITEBYTECODE": "1"},
        )

    def rows(self, **environment: str) -> list[dict[str, Any]]:
        """What `glta plugins --json` prints."""
        shown = self.glta("plugins", "--json", **environment)
        assert shown.returncode == 0, shown.stderr
        listed: list[dict[str, Any]] = json.loads(shown.stdout)
        return listed

    def modules_after(self, *arguments: str) -> set[str]:
        """Full names of the modules that are imported once a command ends."""
        finished = subprocess.run(
            [self.python, "-c", MODULES_AFTER.format(arguments=list(arguments))],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=outside_environment(),
        )
        assert finished.returncode == 0, finished.stderr
        title, *modules = finished.stderr.splitlines()[-1].split()
        assert title == "modules:"
        return set(modules)


def running_libraries() -> Iterator[Path]:
    """What is installed in the running environment, without the metadata that makes a distribution a plugin."""
    found = {path.name: path for kind in ("platlib", "purelib") for path in Path(sysconfig.get_path(kind)).iterdir()}
    for path in found.values():
        is_metadata = path.suffix in {".dist-info", ".egg-info"} and path.is_dir()
        if not (is_metadata and PathDistribution(path).entry_points.select(group=ENTRY_POINT_GROUP)):
            yield path


def run(*command: str | Path) -> None:
    finished = subprocess.run(command, capture_output=True, text=True, env=outside_environment())
    assert finished.returncode == 0, finished.stdout + finished.stderr


LEADS_BACK = ("GLTA_", "PYTHON", "PIP_", "PYTEST_")


def outside_environment() -> dict[str, str]:
    """The environment without what would lead glta, Python or pip back to this repository."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(LEADS_BACK)}
    return kept | {"COLUMNS": "200", "OMP_NUM_THREADS": "1"}


def warnings_of(shown: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in shown.stderr.splitlines() if line.startswith("warning: plugin ")]


# ------------------------------------------------------------------------------------------------- the installations


@pytest.fixture(scope="module")
def example(repository: Path) -> Path:
    return repository / "plugins" / "glta-example"


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a package that was just written from the templates."""
    folder = tmp_path_factory.mktemp("new")
    # In a process of its own: other tests of this one may have imported a package of that name.
    run(sys.executable, "-m", "glta_cli", "plugins", "new", "encoder", "mine", folder)
    return folder / "glta-mine"


@pytest.fixture(scope="module")
def wheels(repository: Path, example: Path, new: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A wheel of glta, of the example, of the new package and of every one in tests/broken_plugins, by distribution."""
    folder = tmp_path_factory.mktemp("wheels")
    broken = sorted((repository / "tests" / "broken_plugins").iterdir())
    sources = [repository, example, new, *broken]
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, *sources)
    return {wheel.name.split("-")[0].replace("_", "-"): wheel for wheel in folder.iterdir()}


Install = Callable[..., Installation]


@pytest.fixture(scope="module")
def install(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Install:
    """Make a fresh environment with glta and the distributions named."""

    def make(*distributions: str) -> Installation:
        folder = tmp_path_factory.mktemp("environment")
        return Installation(folder, [wheels[name] for name in ("glta", *distributions)])

    return make


@pytest.fixture(scope="module")
def with_example(install: Install) -> Installation:
    return install("glta-example")


@pytest.fixture(scope="module")
def with_new(install: Install) -> Installation:
    return install(NEW)


@pytest.fixture(scope="module")
def with_broken(install: Install) -> Installation:
    return install(*BROKEN, *LOADABLE)


@pytest.fixture(scope="module")
def recipe_with(tiny_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Write the toy recipe with another encoder, whose options are left at their defaults."""
    folder = tmp_path_factory.mktemp("recipes")

    def write(encoder: str) -> Path:
        graph = tiny_settings["graph"] | {"encoder": encoder, "options": {}}
        path = folder / f"{encoder}.yaml"
        path.write_text(yaml.safe_dump({**tiny_settings, "graph": graph}))
        return path

    return write


@pytest.fixture(scope="module")
def simgcl_recipe(tiny_settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy recipe with SimGCL in place of LightGCN, its options in block style on lines of their own."""
    options = {"dimension": 16, "noise": 0.2}
    graph = tiny_settings["graph"] | {"encoder": "simgcl", "options": options}
    path = tmp_path_factory.mktemp("recipes") / "simgcl.yaml"
    path.write_text(yaml.safe_dump({**tiny_settings, "graph": graph}))
    return path


def test_every_folder_of_broken_plugins_is_tested(wheels):
    assert set(wheels) == {"glta", "glta-example", NEW, *BROKEN, *LOADABLE, RIVAL}


def test_a_wheel_holds_its_own_packages_only(wheels):
    def packages(distribution: str) -> set[str]:
        with ZipFile(wheels[distribution]) as wheel:
            return {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" not in name}

    own = {"glta_cli", "glta_datasets", "glta_encoders", "glta_backbones", "glta_baselines", "glta_loggers"}
    assert packages("glta") == own
    assert packages("glta-example") == {"glta_example"}
    assert packages(NEW) == {"glta_mine"}


def test_glta_comes_from_its_wheel(with_example):
    shown = subprocess.run(
        [with_example.python, "-c", "import glta_cli, glta_encoders; print(glta_cli.__file__, glta_encoders.__file__)"],
        capture_output=True,
        text=True,
        cwd=with_example.folder,
        env=outside_environment(),
    )
    assert shown.returncode == 0, shown.stderr
    assert all(Path(file).is_relative_to(with_example.folder) for file in shown.stdout.split())


def test_plugins_of_the_running_environment_stay_out(tmp_path, monkeypatch):
    for distribution, group in [("theirs", "glta"), ("another", "console_scripts")]:
        (tmp_path / distribution).mkdir()
        information = tmp_path / f"{distribution}-1.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        (information / "entry_points.txt").write_text(f"[{group}]\nmine = {distribution}\n")
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    assert {path.name for path in running_libraries()} == {"theirs", "another", "another-1.0.dist-info"}


# -------------------------------------------------------------------------------------------------------- the example


def test_the_example_is_listed(with_example):
    [row] = [row for row in with_example.rows() if row["distribution"] == "glta-example"]
    assert (row["kind"], row["name"], row["version"], row["status"]) == ("encoder", "simgcl", "0.1.0", "ok")


def test_the_example_passes_its_own_tests(with_example, example):
    finished = with_example.pytest(example)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert f"rootdir: {example}\n" in finished.stdout
    assert " 5 passed" in finished.stdout


def test_the_example_trains(with_example, simgcl_recipe):
    trained = with_example.glta("pretrain-graph", "--recipe", simgcl_recipe, "--json")
    assert trained.returncode == 0, trained.stderr
    assert "warning" not in trained.stderr
    details = json.loads(trained.stdout)["details"]
    assert details["encoder"] == "simgcl"
    losses = [epoch["loss"] for epoch in details["full"]["history"] if "loss" in epoch]
    assert losses[-1] < losses[0]
    assert details["full"]["best_metric"] > 0.3  # the toy users have two tastes; a random order finds 0.1


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("nois: 0.2", "graph.options.nois: unknown key\n  hint: did you mean 'noise'?\n"),
        ("noise: -1", "graph.options.noise: has to be greater than or equal to 0, not -1\n"),
    ],
)
def test_a_wrong_setting_of_the_example_is_shown_where_it_stands(with_example, simgcl_recipe, tmp_path, line, problem):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(simgcl_recipe.read_text().replace("noise: 0.2", line))
    number, column = next(
        (number, text.index("noi") + 1) for number, text in enumerate(wrong.read_text().splitlines(), 1) if line in text
    )
    shown = with_example.glta("recipes", "validate", wrong)
    assert shown.returncode == 2
    assert shown.stderr == f"{wrong}:{number}:{column}: {problem}"


def test_the_example_can_be_uninstalled(install, simgcl_recipe, tiny_recipe_file):
    installation = install("glta-example")
    installation.pip("uninstall", "--yes", "glta-example")
    assert {row["distribution"] for row in installation.rows()} == {"glta"}
    refused = installation.glta("pretrain-graph", "--recipe", simgcl_recipe)
    assert refused.returncode == 2
    assert "graph.encoder: no encoder is called 'simgcl'" in refused.stderr
    trained = installation.glta("pretrain-graph", "--recipe", tiny_recipe_file)
    assert trained.returncode == 0, trained.stderr


# ------------------------------------------------------------------------------------------------------ a new package


def test_a_new_package_is_listed_and_passes_its_own_test(with_new, new):
    [row] = [row for row in with_new.rows() if row["distribution"] != "glta"]
    assert (row["distribution"], row["kind"], row["name"], row["status"]) == (NEW, "encoder", "mine", "ok")
    finished = with_new.pytest(new)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert " 1 passed" in finished.stdout


# ------------------------------------------------------------------------------------------------------ broken plugins


def test_help_says_nothing_of_broken_plugins(with_broken):
    shown = with_broken.glta("--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "pretrain-graph" in shown.stdout


def test_the_list_has_a_row_for_every_broken_plugin(with_broken):
    rows = {row["distribution"]: row for row in with_broken.rows() if row["kind"] == "plugin"}
    assert set(rows) == set(BROKEN)
    for distribution, cause in BROKEN.items():
        assert rows[distribution]["version"] == "1.0"
        assert rows[distribution]["status"].startswith("broken: ")
        assert cause in rows[distribution]["status"]


def test_the_table_names_every_broken_plugin_and_its_cause(with_broken):
    shown = with_broken.glta("plugins")
    assert shown.returncode == 0
    words = " ".join(shown.stdout.split())
    for distribution in BROKEN:
        assert f"{distribution} 1.0" in words
    assert "SystemExit: no licence found" in words


def test_what_a_plugin_prints_while_it_is_loaded_stays_out_of_results(with_broken):
    shown = with_broken.glta("plugins", "--json")
    assert shown.stderr.splitlines() == SAID
    [row] = [row for row in json.loads(shown.stdout) if row["distribution"] == "glta-prints"]
    assert row["status"] == "ok"


def test_a_command_warns_once_of_each_broken_plugin(with_broken):
    shown = with_broken.glta("recipes", "validate", "quickstart")
    assert shown.returncode == 0, shown.stderr
    warnings = warnings_of(shown)
    assert [warning.split()[2] for warning in sorted(warnings)] == sorted(BROKEN)
    for warning in warnings:
        assert BROKEN[warning.split()[2]] in warning
    assert len(shown.stderr.splitlines()) == len(BROKEN) + len(SAID)


def test_a_stage_runs_beside_broken_plugins(with_broken, tiny_recipe_file):
    prepared = with_broken.glta("prepare", "--recipe", tiny_recipe_file, "--json")
    assert prepared.returncode == 0, prepared.stderr
    assert json.loads(prepared.stdout)


@pytest.mark.parametrize(
    ("encoder", "distribution"),
    [
        ("raising-hook", "glta-raising-hook"),  # had declared it when it failed
        ("declared-twice", "glta-declared-twice"),
        ("missing-import", "glta-missing-import"),  # nobody knows what it would have declared
    ],
)
def test_selecting_from_a_broken_plugin_gives_the_original_cause(with_broken, recipe_with, encoder, distribution):
    shown = with_broken.glta("recipes", "validate", recipe_with(encoder))
    assert shown.returncode == 2
    message = shown.stderr.partition("graph.encoder: ")[2]
    assert f"plugin {distribution} 1.0" in message
    assert BROKEN[distribution] in message


def test_a_target_that_cannot_be_imported_is_an_error_when_it_is_selected(with_broken, recipe_with):
    shown = with_broken.glta("pretrain-graph", "--recipe", recipe_with("missing-target"))
    assert shown.returncode == 1
    assert shown.stderr.splitlines()[-2:] == [
        "encoder 'missing-target' of glta-missing-target 1.0 cannot be imported: "
        "ModuleNotFoundError: No module named 'a_package_nobody_has'",
        "  hint: pip install 'glta-missing-target[gpu]'",
    ]


def test_settings_that_would_take_a_misspelt_key_are_refused(with_broken, recipe_with):
    shown = with_broken.glta("recipes", "validate", recipe_with("plain-settings"))
    assert shown.returncode == 2
    assert (
        "encoder 'plain-settings' of glta-plain-settings 1.0 has settings that are no subclass of "
        "glta_cli.plugin.Settings, or take unknown keys: glta_plain_settings:EncoderSettings" in shown.stderr
    )


def test_two_plugins_of_one_name_are_an_error_only_where_it_is_selected(install, simgcl_recipe):
    installation = install(RIVAL, "glta-example")
    refused = installation.glta("recipes", "validate", "quickstart")
    assert refused.returncode == 2
    assert f"encoder 'lightgcn' is declared by glta {__version__} and glta-rival 1.0" in refused.stderr
    accepted = installation.glta("recipes", "validate", simgcl_recipe)
    assert accepted.returncode == 0, accepted.stderr
    without = installation.glta("recipes", "validate", "quickstart", "--no-plugins")
    assert without.returncode == 0, without.stderr


# ------------------------------------------------------------------------------------------------ which are loaded


def test_strictness_fails_at_the_first_broken_plugin(with_broken):
    shown = with_broken.glta("plugins", GLTA_STRICT_PLUGINS="1")
    assert shown.returncode == 1
    message, hint = shown.stderr.splitlines()[-2:]
    [named] = [name for name in BROKEN if message.startswith(f"plugin {name} 1.0 is broken: ")]
    assert BROKEN[named] in message
    assert hint.startswith("  hint: ")
    assert "GLTA_STRICT_PLUGINS" in hint


@pytest.mark.parametrize("chosen", [("--no-plugins", None), (None, "")])
def test_without_plugins_nothing_foreign_is_loaded(with_broken, chosen):
    flag, names = chosen
    environment = {} if names is None else {"GLTA_LOAD_PLUGINS": names}
    shown = with_broken.glta("plugins", "--json", *([flag] if flag else []), **environment)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert {row["distribution"] for row in json.loads(shown.stdout)} == {"glta"}


@pytest.mark.parametrize("name", ["glta-no-colon", "GLTA_no.colon", "no-colon"])
def test_one_plugin_can_be_loaded_alone(with_broken, name):
    rows = with_broken.rows(GLTA_LOAD_PLUGINS=name)
    assert {row["distribution"] for row in rows} == {"glta", "glta-no-colon"}


def test_loading_a_plugin_that_is_not_installed_is_an_error(with_broken):
    shown = with_broken.glta("plugins", GLTA_LOAD_PLUGINS="glta-prints,glta-nobody")
    assert (shown.returncode, shown.stdout) == (2, "")
    message, hint = shown.stderr.splitlines()
    assert message == "GLTA_LOAD_PLUGINS: no plugin is called glta-nobody"
    assert all(distribution in hint for distribution in (*BROKEN, *LOADABLE))


HEAVY = {"torch", "transformers"}
TARGETS = {
    "glta_example.simgcl",
    "glta_encoders.lightgcn",
    "glta_backbones.smollm2",
    "glta_backbones.tiny",
    "glta_datasets.movielens",
    "glta_baselines.popularity",
}


@pytest.mark.parametrize("arguments", [("--help",), ("plugins",), ("recipes", "validate", "quickstart")])
def test_looking_around_imports_no_target(with_example, arguments):
    modules = with_example.modules_after(*arguments)
    assert modules & (HEAVY | TARGETS) == set()
    assert ("glta_example" in modules) == (arguments != ("--help",))
    assert "glta_example.settings" not in modules


def test_checking_a_recipe_imports_the_settings_it_selects_and_no_more(with_example, simgcl_recipe):
    modules = with_example.modules_after("recipes", "validate", str(simgcl_recipe))
    assert {"glta_example.settings", "glta_baselines.settings"} <= modules  # popularity is the default
    assert modules & (HEAVY | TARGETS) == set()


@pytest.mark.parametrize("arguments", [("--help",), ("plugins",), ("recipes", "validate", "quickstart")])
def test_broken_plugins_bring_nothing_heavy(with_broken, arguments):
    assert with_broken.modules_after(*arguments) & HEAVY == set()
