"""A new plugin package from the templates: a small component that works, with its settings, test and README."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from string import Template
from typing import TYPE_CHECKING

from glta_cli import __version__
from glta_cli.core.errors import InputError
from glta_cli.core.printable import shell_word

if TYPE_CHECKING:
    from glta_cli.plugin import Kind

TEMPLATES = Path(__file__).parent.parent / "templates"
FOR_EVERY_KIND = "any"
SUFFIX = ".tmpl"
# In the path of a template: the package, and its name without `glta_`.
PACKAGE, NAME = "PACKAGE", "NAME"
# A packer would obey a file of this name among the templates.
GITIGNORE = "gitignore"

PREFIX = "glta_"
NAME_FORM = r"[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?"

TRIAL_OF_KIND: Mapping[Kind, str] = {
    "encoder": "glta pretrain-graph --set graph.encoder={name}",
    "backbone": "glta finetune --set backbone.name={name} --set backbone.layers=null",
    "dataset": "glta prepare {name} --source tests/loans.txt",
    "baseline": "glta evaluate --baselines popularity,{name}",
    "logger": "glta pretrain-graph --set 'loggers=[{name}]'",
}


@dataclass(frozen=True)
class NewPackage:
    """A package that is not written yet: the name of its folder, and the text of its files by path inside it."""

    distribution: str
    files: Mapping[PurePosixPath, str]


def new_package(kind: Kind, name: str) -> NewPackage:
    """Fill in the templates of a kind.

    Raises:
        InputError: the name is none a recipe can hold, or is taken.
    """
    _check_form(name)
    package = PREFIX + name.replace("-", "_").lower()
    _check_free(kind, name, package)
    templates = _templates(kind)
    values = {
        "kind": kind,
        "name": name,
        "distribution": f"glta-{name}",
        "package": package,
        "Class": _class_name(kind, name, templates.values()),
        "glta_version": __version__,
    }
    files = {_path(path, package): Template(text).substitute(values) for path, text in templates.items()}
    return NewPackage(values["distribution"], dict(sorted(files.items())))


def write_package(package: NewPackage, destination: Path) -> Path:
    """Write the package into a folder of its own below `destination`, whole or not at all; returns that folder.

    Raises:
        InputError: there is no such destination, the folder exists, or cannot be written.
    """
    import shutil

    from glta_cli.core.files import write_bytes

    folder = destination / package.distribution
    if not destination.is_dir():
        raise InputError("no such folder", location=str(destination), hint=f"mkdir -p {shell_word(str(destination))}")
    try:
        folder.mkdir()
    except FileExistsError as error:
        raise InputError("exists already", location=str(folder), hint="choose another name or folder") from error
    except OSError as error:
        raise InputError(f"cannot be created: {error.strerror}", location=str(folder)) from error
    try:
        for path, text in package.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(folder / path, text.encode())
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise InputError(f"cannot be written: {error.strerror}", location=str(folder)) from error
        raise
    return folder


def next_commands(kind: Kind, name: str) -> list[str]:
    """What to type in the new folder: install, test, look, and use it."""
    return ["pip install -e '.[test]'", "pytest", f"glta plugins --kind {kind}", TRIAL_OF_KIND[kind].format(name=name)]


# ------------------------------------------------------------------------------------------------------ the name


def _check_form(name: str) -> None:
    from glta_cli.recipe.positioned_yaml import read_yaml

    if not re.fullmatch(NAME_FORM, name):
        hint = "letters, digits, - and _, with a letter or digit at either end"
        raise InputError(f"'{name}' is no name for a component", location="NAME", hint=hint)
    values, _ = read_yaml(f"name: {name}", "NAME")
    if not isinstance(values["name"], str):
        raise InputError(
            f"'{name}' is not text in a recipe", location="NAME", hint=f"choose another, such as my-{name}"
        )


def _check_free(kind: Kind, name: str, package: str) -> None:
    from importlib.util import find_spec

    from glta_cli.plugin.registry import Registry

    for component in Registry().of_kind(kind):
        if component.name == name:
            raise InputError(
                f"{kind} '{name}' exists already, in {component.origin}",
                location="NAME",
                hint=f"choose another; `glta plugins show {kind} {name}` shows that one",
            )
    if find_spec(package) is not None:
        raise InputError(f"a package called {package} is installed already", location="NAME", hint="choose another")


def _class_name(kind: Kind, name: str, texts: Iterable[str]) -> str:
    """The name in camel case; with its kind where it starts with a digit, or is a word of Python or a template."""
    words = re.split("[-_]+", name)
    camel = "".join(word[:1].upper() + word[1:] for word in words)
    taken = {word for text in texts for word in re.findall(r"\w+", text)} | set(dir(builtins)) | set(keyword.kwlist)
    if camel[0].isdigit():
        return kind.capitalize() + camel
    return camel + kind.capitalize() if {camel, f"{camel}Settings"} & taken else camel


# -------------------------------------------------------------------------------------------------- the templates


def _templates(kind: Kind) -> dict[PurePosixPath, str]:
    """The templates of a kind and of every kind: text by path in the package, still to be filled in."""
    return {
        PurePosixPath(path.relative_to(folder).as_posix()): path.read_text(encoding="utf-8")
        for folder in (TEMPLATES / FOR_EVERY_KIND, TEMPLATES / kind)
        for path in sorted(folder.rglob(f"*{SUFFIX}"))
    }


def _path(template: PurePosixPath, package: str) -> PurePosixPath:
    name = template.name.removesuffix(SUFFIX)
    path = template.with_name(f".{name}" if name == GITIGNORE else name)
    return PurePosixPath(str(path).replace(PACKAGE, package).replace(NAME, package.removeprefix(PREFIX)))
