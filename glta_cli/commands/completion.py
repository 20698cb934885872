"""What a shell completes: names of recipes, runs and components, found without importing what would use them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import typer

# What Typer's completion scripts call `glta` with, and the options that write such a script.
COMPLETE_VARIABLE = "_GLTA_COMPLETE"
COMPLETION_OPTIONS = frozenset({"--install-completion", "--show-completion"})
DEVICES = ("auto", "cpu", "cuda", "mps")


def is_asked_for() -> bool:
    """Whether this process is to complete a word, or to write the script a shell completes with.

    Only then Typer's options for it are there: every `--help` would list them, and all the others are about `glta`.
    """
    return COMPLETE_VARIABLE in os.environ or not COMPLETION_OPTIONS.isdisjoint(sys.argv[1:])


def only_when_asked(names: Callable[..., list[str]]) -> Callable[..., list[str]] | None:
    """A function that completes; None where nothing is to be completed: Typer's look at it would slow every start."""
    return names if is_asked_for() else None


@only_when_asked
def recipes(incomplete: str) -> list[str]:
    """Names of shipped recipes, and YAML files below what is typed."""
    from glta_cli.recipe.shipped_files import shipped_recipes

    return _beginning(shipped_recipes(), incomplete) + _yaml_files(incomplete)


@only_when_asked
def runs(context: typer.Context, incomplete: str) -> list[str]:
    """Names of the runs in the workspace the command line is about."""
    from glta_cli.workspace.workspace import Workspace

    return _beginning(Workspace(_data_dir(context)).run_names(), incomplete)


@only_when_asked
def datasets(incomplete: str) -> list[str]:
    """Names of the datasets there are loaders for."""
    return _beginning(_components("dataset"), incomplete)


@only_when_asked
def kinds(incomplete: str) -> list[str]:
    """The kinds of plugins."""
    from glta_cli.plugin import KINDS

    return _beginning(KINDS, incomplete)


@only_when_asked
def components(context: typer.Context, incomplete: str) -> list[str]:
    """Names of the components of the kind typed before."""
    return _beginning(_components(str(context.params.get("kind"))), incomplete)


@only_when_asked
def rows(incomplete: str) -> list[str]:
    """What an evaluation compares with, the last of several names joined by commas."""
    from glta_cli.recipe.shipped_variants import VARIANTS

    typed, comma, last = incomplete.rpartition(",")
    known = [*_components("baseline"), *_components("encoder"), *VARIANTS]
    return [f"{typed}{comma}{name}" for name in _beginning(known, last)]


@only_when_asked
def export_formats(incomplete: str) -> list[str]:
    """What a run can be exported as."""
    from glta_cli.answers.export_formats import FORMATS

    return _beginning(FORMATS, incomplete)


@only_when_asked
def approximate_methods(incomplete: str) -> list[str]:
    """How an exported index may look at a part of the catalogue."""
    from glta_cli.answers.export_formats import APPROXIMATE

    return _beginning(APPROXIMATE, incomplete)


@only_when_asked
def devices(incomplete: str) -> list[str]:
    """What torch calls devices."""
    return _beginning(DEVICES, incomplete)


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})


def _components(kind: str) -> list[str]:
    from glta_cli.plugin.registry import Registry

    return [component.name for component in Registry().components if component.kind == kind]


def _yaml_files(incomplete: str) -> list[str]:
    """Files and folders as a shell would offer them."""
    typed = Path(incomplete)
    folder, start = (typed, "") if incomplete.endswith("/") else (typed.parent, typed.name)
    return sorted(_offered(folder, start, incomplete))


def _offered(folder: Path, start: str, incomplete: str) -> Iterator[str]:
    before = incomplete[: len(incomplete) - len(start)] if start else incomplete
    try:
        found = list(folder.expanduser().iterdir())
    except OSError:
        return
    for path in found:
        if path.name.startswith(start) and (start.startswith(".") or not path.name.startswith(".")):
            if path.suffix in (".yaml", ".yml"):
                yield f"{before}{path.name}"
            elif path.is_dir() and start:
                yield f"{before}{path.name}/"


def _data_dir(context: typer.Context) -> Path | None:
    given = context.params.get("data_dir")
    return Path(given) if given else None
