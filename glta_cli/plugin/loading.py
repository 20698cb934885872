"""Loads one entry point on its own, and checks every declaration its hooks yield."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from importlib.metadata import EntryPoint
from typing import Any

import pluggy

from glta_cli.core.errors import PluginError, did_you_mean
from glta_cli.core.printable import printable
from glta_cli.plugin import hooks
from glta_cli.plugin.declarations import (
    BackboneDeclaration,
    BaselineDeclaration,
    DatasetDeclaration,
    Declaration,
    EncoderDeclaration,
    Kind,
    LoggerDeclaration,
    TunableDeclaration,
)
from glta_cli.plugin.hooks import API_VERSION, ENTRY_POINT_GROUP, HOOK_OF_KIND

DECLARATIONS = (
    EncoderDeclaration,
    BackboneDeclaration,
    DatasetDeclaration,
    BaselineDeclaration,
    LoggerDeclaration,
)


def declarations_of(entry: EntryPoint) -> Iterator[Declaration]:
    """Load one entry point into a plugin manager of its own and yield what its hooks yield, checked."""
    plugin = entry.load()
    if isinstance(plugin, type):
        raise PluginError(f"its entry point names the class {plugin.__name__}: name a module or an instance")
    claimed = getattr(plugin, "GLTA_API_VERSION", API_VERSION)
    if type(claimed) is not int or claimed != API_VERSION:
        shown = reprlib.repr(claimed)
        raise PluginError(f"was written for version {shown} of the plugin API; this glta speaks {API_VERSION}")
    manager = pluggy.PluginManager(ENTRY_POINT_GROUP)
    manager.add_hookspecs(hooks)
    try:
        manager.register(plugin, name=entry.name)
    except pluggy.PluginValidationError as error:
        # Between them stands the whole signature.
        which, *_, what = str(error).splitlines()
        raise PluginError(f"{which.partition(' for ')[2]}: {what}") from error
    _check_hook_names(manager)
    for kind, hook in HOOK_OF_KIND.items():
        for batch in getattr(manager.hook, hook)():
            for declaration in batch:
                yield _checked(declaration, kind, hook)


def _check_hook_names(manager: pluggy.PluginManager) -> None:
    for name, caller in vars(manager.hook).items():
        if (
            not isinstance(caller, pluggy.HookCaller)
            or caller.has_spec()
            or all(impl.optionalhook for impl in caller.get_hookimpls())
        ):
            continue
        hint = did_you_mean(name, list(HOOK_OF_KIND.values()))
        raise PluginError(f"there is no hook called '{name}'" + (f"; {hint}" if hint else ""))


def _checked(declaration: Any, kind: Kind, hook: str) -> Declaration:
    """What a hook yielded, as a plain declaration; raises `PluginError` unless it is one of that kind and complete."""
    [declaration_type] = [each for each in DECLARATIONS if each.kind == kind]
    if not isinstance(declaration, declaration_type):
        named = isinstance(declaration, Declaration)
        shown = f"{declaration.kind} '{declaration.name}'" if named else reprlib.repr(declaration)
        raise PluginError(f"{hook} yields {shown}, which declares no {kind}")
    values: dict[str, Any] = {field.name: getattr(declaration, field.name) for field in fields(declaration_type)}
    if values["extra"] is not None:
        _check_text(values["extra"], "extra", r"[^\n]+", "one line", hook)
    _check_text(values["name"], "name", r"[A-Za-z0-9][A-Za-z0-9._-]*", "a name", hook)
    _check_text(values["summary"], "summary", r"[^\n]+", "one line", hook)
    for path in ("target", "config"):
        _check_text(values[path], path, r"[\w.]+:\w+", "package.module:Name", hook)
    for switch in ("reads_text", "generates"):
        if type(given := values.get(switch, True)) is not bool:
            raise PluginError(f"{hook} yields a declaration whose {switch} is {reprlib.repr(given)}, not true or false")
    values["summary"] = printable(values["summary"])
    if isinstance(declaration, TunableDeclaration):
        values["grid"] = _checked_grid(declaration.grid, hook)
    if isinstance(declaration, BaselineDeclaration):
        values["time_grid"] = _checked_grid(declaration.time_grid, hook)
    return declaration_type(**values)


def _checked_grid(grid: Any, hook: str) -> dict[str, list[Any]]:
    """The grid of a declaration, as a copy of its own; whether its values are settings is known when it is used."""
    if not isinstance(grid, Mapping) or not all(
        type(name) is str and isinstance(values, Sequence) and not isinstance(values, (str, bytes)) and len(values)
        for name, values in grid.items()
    ):
        shown = reprlib.repr(grid)
        raise PluginError(f"{hook} yields a declaration whose grid is {shown}, not lists of values by setting")
    return {name: list(values) for name, values in grid.items()}


def _check_text(value: Any, attribute: str, pattern: str, form: str, hook: str) -> None:
    if type(value) is not str or not re.fullmatch(pattern, value):
        shown = reprlib.repr(value)
        raise PluginError(f"{hook} yields a declaration whose {attribute} is {shown}, not {form}")
