"""Promises are checked one by one and told together; those of every kind are checked on plugins that are installed."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from glta_cli.core.errors import InputError
from glta_cli.plugin import TunableDeclaration
from glta_cli.plugin.registry import installed
from glta_cli.testing.contract import Contract, ContractError, declared


def test_a_contract_that_is_kept_settles() -> None:
    contract = Contract("encoder 'mine'")
    with contract.promise("it works"):
        pass
    contract.settle()
    assert contract.promises == 1


def test_every_broken_promise_is_told_with_what_was_seen() -> None:
    contract = Contract("encoder 'mine'")
    with contract.promise("it is right"):
        raise AssertionError("it is wrong\nand odd")
    with contract.promise("it works"):
        pass
    with contract.promise("it has a name"):
        {}["name"]
    with contract.promise("it can be had"):
        raise InputError("there is none", location="--source", hint="make one")
    with contract.promise("it is so"):
        raise AssertionError
    with pytest.raises(ContractError) as told:
        contract.settle()
    assert str(told.value) == (
        "encoder 'mine' breaks 4 promises of its kind\n"
        "  - it is right\n"
        "      it is wrong\n"
        "      and odd\n"
        "  - it has a name\n"
        f"      KeyError: 'name' ({__file__}:36)\n"
        "  - it can be had\n"
        "      --source: there is none\n"
        "        hint: make one\n"
        "  - it is so\n"
        f"      AssertionError ({__file__}:40)"
    )


def test_after_a_decisive_promise_nothing_else_is_checked() -> None:
    contract = Contract("encoder 'mine'")
    with contract.promise("it works", decisive=True):
        pass
    with contract.promise("it is small"):
        raise AssertionError("it is large")
    with pytest.raises(ContractError, match=r"breaks 2 promises (.|\n)*it is large(.|\n)*ValueError: odd") as told:  # noqa: SIM117
        with contract.promise("it can be made", decisive=True):
            raise ValueError("odd")
    assert isinstance(told.value.__cause__, ValueError)


def test_the_cause_is_what_the_component_raised() -> None:
    contract = Contract("encoder 'mine'")
    first, second = ValueError("one"), KeyError("two")
    for each in (first, AssertionError("seen"), second):
        with contract.promise("it works"):
            raise each
    with pytest.raises(ContractError) as told:
        contract.settle()
    cause = told.value.__cause__
    assert isinstance(cause, ExceptionGroup)
    assert cause.exceptions == (first, second)


def test_an_interrupt_is_no_breach() -> None:
    contract = Contract("encoder 'mine'")
    with pytest.raises(KeyboardInterrupt), contract.promise("it works"):
        raise KeyboardInterrupt
    assert contract.breaches == []


# ------------------------------------------------------------------------------------------- what every kind promises

PLUGIN = """
    from glta_cli.plugin import LoggerDeclaration, hookimpl

    @hookimpl
    def glta_loggers():
        yield LoggerDeclaration(
            name="diary", summary="a line a stage", target="{package}.logger:Diary", config="{package}.settings:Diary"
        )
"""
SETTINGS = """
    from pydantic import Field

    from glta_cli.plugin import Settings

    class Diary(Settings):
        file: str = Field("diary.txt", description="of the diary")
"""
LOGGER = """
    class Diary:
        pass
"""


@pytest.fixture
def plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Callable[..., None]]:
    """Install a plugin with the logger `diary`; its files may be replaced."""
    before = set(sys.modules)

    def install(**replaced: str) -> None:
        package = tmp_path / "their_diary"
        package.mkdir()
        files = {"__init__": PLUGIN, "settings": SETTINGS, "logger": LOGGER} | replaced
        for name, text in files.items():
            (package / f"{name}.py").write_text(textwrap.dedent(text).replace("{package}", "their_diary"))
        information = tmp_path / "their_diary-1.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: their-diary\nVersion: 1.0\n")
        (information / "entry_points.txt").write_text("[glta]\ndiary = their_diary\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        installed.cache_clear()

    yield install
    for name in [name for name in set(sys.modules) - before if name.partition(".")[0] == "their_diary"]:
        del sys.modules[name]
    monkeypatch.undo()
    installed.cache_clear()


def told_of_diary(options: dict[str, Any] | None = None) -> list[str]:
    """What the logger `diary` is told of the promises every kind makes."""
    contract = Contract("logger 'diary'")
    with suppress(ContractError):  # of a decisive promise
        declared(contract, "logger", "diary", options)
    return contract.breaches


def test_a_declared_component_comes_with_its_settings(plugin: Callable[..., None]) -> None:
    plugin()
    contract = Contract("logger 'diary'")
    component, settings = declared(contract, "logger", "diary", {"file": "mine.txt"})
    contract.settle()
    assert str(component.origin) == "their-diary 1.0"
    assert settings.model_dump() == {"file": "mine.txt"}


NEEDS_A_VALUE = SETTINGS.replace('"diary.txt", ', "")


@pytest.mark.parametrize(
    ("replaced", "promise", "seen"),
    [
        ({"__init__": "import no_such_package"}, "a plugin that is installed declares it", "no_such_package"),
        (
            {"__init__": PLUGIN.replace("diary", "dairy")},
            "a plugin that is installed declares it",
            "did you mean 'dairy'",
        ),
        ({"settings": "import no_such_package"}, "its settings are an importable subclass", "no_such_package"),
        (
            {"settings": "class Diary: pass"},
            "its settings are an importable subclass",
            "no subclass of glta_cli.plugin",
        ),
        (
            {"settings": f"{textwrap.dedent(SETTINGS)}    model_config = {{'extra': 'allow'}}\n"},
            "its settings are an importable subclass of glta_cli.plugin.Settings that takes no unknown keys",
            "take unknown keys",
        ),
        ({"settings": NEEDS_A_VALUE}, "its settings need nothing but what the test gives", "options.file"),
        ({"settings": SETTINGS.replace("of the diary", "")}, "every setting has a description", "without: file"),
        ({"settings": f"import torch\n{textwrap.dedent(SETTINGS)}"}, "its code is imported when", "at once: torch"),
        (
            {"__init__": f"import {{package}}.logger\n{textwrap.dedent(PLUGIN)}"},
            "its code is imported when",
            "at once: their_diary.logger",
        ),
        ({"logger": "import no_such_package"}, "its target can be imported", "no_such_package"),
        ({"logger": "class Dairy: pass"}, "its target can be imported", "Diary"),
    ],
)
def test_a_component_is_told_what_every_kind_promises(
    plugin: Callable[..., None], replaced: dict[str, str], promise: str, seen: str
) -> None:
    plugin(**replaced)
    [breach] = told_of_diary()
    assert breach.startswith(promise)
    assert seen in breach


def test_what_the_test_gives_is_taken(plugin: Callable[..., None]) -> None:
    plugin(settings=NEEDS_A_VALUE)
    assert told_of_diary({"file": "mine.txt"}) == []
    [breach] = told_of_diary({"file": "mine.txt", "fiel": 1})
    assert "did you mean 'file'" in breach


def test_what_another_plugin_imports_is_not_held_against_a_component(plugin: Callable[..., None]) -> None:
    plugin(__init__=f"import torch\n{textwrap.dedent(PLUGIN)}")
    contract = Contract("logger 'jsonl'")
    declared(contract, "logger", "jsonl")
    contract.settle()


def test_without_assertions_nothing_is_checked_rather_than_everything_passed() -> None:
    code = "from glta_cli.testing.contract import Contract; Contract('encoder mine')"
    with_assertions, without = (
        subprocess.run([sys.executable, *options, "-c", code], capture_output=True, text=True)
        for options in ([], ["-O"])
    )
    assert with_assertions.returncode == 0, with_assertions.stderr
    assert without.returncode == 1
    assert without.stderr.splitlines()[-1] == (
        "glta_cli.testing.contract.ContractError: encoder mine cannot be checked: "
        "assertions are off; run Python without -O"
    )


# ---------------------------------------------------------------------------------------------------------- its grid

BASELINE = """
    from glta_cli.plugin import BaselineDeclaration, hookimpl

    @hookimpl
    def glta_baselines():
        yield BaselineDeclaration(
            name="near", summary="neighbours", target="{package}.logger:Diary", config="{package}.settings:Near",
            grid=GRID,
        )
"""
NEAR = """
    from pydantic import Field

    from glta_cli.plugin import Settings

    class Near(Settings):
        shrink: float = Field(1.0, ge=0, description="of rare items")
        neighbours: int = Field(10, ge=1, description="kept of each item")
"""


@pytest.mark.parametrize(
    ("grid", "seen"),
    [
        ({}, None),
        ({"shrink": (0, 1.5), "neighbours": [10, 20, 30]}, None),
        ({"shrink": [*range(16)]}, None),
        ({"shrnk": [0.0]}, "grid.shrnk: unknown key"),
        ({"shrink": [1.0, -1.0]}, "grid.shrink: has to be greater than or equal to 0, not -1.0"),
        ({"shrink": [0.0], "neighbours": [5, 0.5]}, "grid.neighbours: has to be a valid integer"),
        ({"shrink": [*range(17)]}, "it has 17"),
        ({"shrink": [*range(5)], "neighbours": [1, 2, 3, 4]}, "it has 20"),
    ],
)
def test_a_grid_is_a_few_combinations_of_valid_settings(
    plugin: Callable[..., None], grid: dict[str, Any], seen: str | None
) -> None:
    plugin(__init__=BASELINE.replace("GRID", repr(grid)), settings=NEAR)
    contract = Contract("baseline 'near'")
    with suppress(ContractError):
        declared(contract, "baseline", "near")
    if seen is None:
        assert contract.breaches == []
    else:
        [breach] = contract.breaches
        assert breach.startswith("its grid is of its own settings, of at most 16 combinations, all valid")
        assert seen in breach


def test_the_combinations_of_a_grid() -> None:
    item_knn = installed().find("baseline", "item-knn").declaration
    assert isinstance(item_knn, TunableDeclaration)
    first, second, *rest = item_knn.combinations()
    assert (first, second) == ({"neighbours": 20, "shrink": 10.0}, {"neighbours": 20, "shrink": 100.0})
    assert len(rest) == 10
    popularity = installed().find("baseline", "popularity").declaration
    assert isinstance(popularity, TunableDeclaration)
    assert popularity.combinations() == [{}]
