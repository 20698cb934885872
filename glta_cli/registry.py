"""Entry points to components: every plugin is loaded on its own, so a broken one is named and harms no other."""

from __future__ import annotations

import importlib
import os
import re
import reprlib
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

import pluggy

from glta_cli import plugin as plugin_api
from glta_cli.errors import GltaError, InputError, did_you_mean
from glta_cli.plugin import API_VERSION, ENTRY_POINT_GROUP, HOOK_OF_KIND, Declaration, Kind

if TYPE_CHECKING:
    from pydantic import BaseModel

OWN_DISTRIBUTION = "glta"
LONGEST_REASON = 240


class PluginError(Exception):
    """A plugin breaks the contract of `glta_cli.plugin`."""


@dataclass(frozen=True)
class Origin:
    """The installed distribution an entry point belongs to."""

    entry_point: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


@dataclass(frozen=True)
class Component:
    """One declared component and where it came from."""

    declaration: Declaration
    origin: Origin

    @property
    def name(self) -> str:
        return self.declaration.name

    @property
    def kind(self) -> Kind:
        return self.declaration.kind

    def target(self) -> Any:
        """Import and return the component's class; raises `GltaError` with the original cause."""
        return self._imported(self.declaration.target)

    def config(self) -> type[BaseModel]:
        """Import and return the pydantic model of the component's settings.

        Raises:
            GltaError: it cannot be imported, or is no subclass of `Settings`.
        """
        from glta_cli.recipe import Settings

        model: type[BaseModel] = self._imported(self.declaration.config)
        if not (isinstance(model, type) and issubclass(model, Settings)):
            # A plain pydantic model would take a misspelt key without a word.
            raise GltaError(
                f"{self._full_name()} has settings that are no subclass of glta_cli.plugin.Settings: "
                f"{self.declaration.config}",
                hint="tell its author",
            )
        return model

    def build(self, *arguments: Any) -> Any:
        """An instance of the target; raises `GltaError` that names the plugin and the original cause."""
        target = self.target()
        try:
            return target(*arguments)
        except GltaError:
            raise
        except Exception as cause:
            raise GltaError(
                f"{self._full_name()} cannot be made: {reason_of(cause)}", hint="--debug shows where; tell its author"
            ) from cause

    def _imported(self, path: str) -> Any:
        module_name, _, attribute = path.partition(":")
        try:
            with redirect_stdout(sys.stderr):
                return getattr(importlib.import_module(module_name), attribute)
        except KeyboardInterrupt:
            raise
        except BaseException as cause:
            extra = self.declaration.extra
            raise GltaError(
                f"{self._full_name()} cannot be imported: {reason_of(cause)}",
                hint=f"pip install {extra}" if extra else None,
            ) from cause

    def _full_name(self) -> str:
        return f"{self.kind} '{self.name}' of {self.origin}"


@dataclass(frozen=True)
class BrokenPlugin:
    """A plugin that could not be loaded, why, and what it had declared until then."""

    origin: Origin
    cause: BaseException
    declared: tuple[Declaration, ...] = ()

    @property
    def reason(self) -> str:
        return reason_of(self.cause)


class Registry:
    """The components of all plugins among the entry points; by default those installed and wanted."""

    def __init__(self, entries: Iterable[EntryPoint] | None = None) -> None:
        self.components: list[Component] = []
        self.broken: list[BrokenPlugin] = []
        for entry in wanted(entry_points(group=ENTRY_POINT_GROUP)) if entries is None else entries:
            self._add(entry)

    def _add(self, entry: EntryPoint) -> None:
        origin = _origin(entry)
        declared: list[Declaration] = []
        try:
            # What a plugin prints while it is loaded must not end up among results.
            with redirect_stdout(sys.stderr):
                for declaration in _declarations(entry):
                    if any((d.kind, d.name) == (declaration.kind, declaration.name) for d in declared):
                        raise PluginError(f"{declaration.kind} '{declaration.name}' is declared twice")
                    declared.append(declaration)
                if not declared:
                    raise PluginError("declares nothing: is @hookimpl missing, or does its hook yield nothing?")
        except KeyboardInterrupt:
            raise
        except BaseException as cause:
            broken = BrokenPlugin(origin, cause, tuple(declared))
            if os.environ.get("GLTA_STRICT_PLUGINS") == "1":
                raise GltaError(f"plugin {origin} is broken: {broken.reason}", hint="GLTA_STRICT_PLUGINS=1") from cause
            self.broken.append(broken)
        else:
            self.components += [Component(declaration, origin) for declaration in declared]

    def of_kind(self, kind: Kind) -> list[Component]:
        """All components of one kind, by name."""
        return sorted((c for c in self.components if c.kind == kind), key=lambda c: c.name)

    def find(self, kind: Kind, name: str) -> Component:
        """The one component of that kind and name.

        Raises:
            InputError: unknown name, a name of a broken plugin, or one that several plugins claim.
        """
        found = [component for component in self.components if component.kind == kind and component.name == name]
        if len(found) == 1:
            return found[0]
        if found:
            claims = " and ".join(str(component.origin) for component in found)
            raise InputError(
                f"{kind} '{name}' is declared by {claims}",
                hint="uninstall one of them, or leave one out by GLTA_LOAD_PLUGINS",
            )
        for broken in self.broken:
            if any((declared.kind, declared.name) == (kind, name) for declared in broken.declared):
                raise InputError(
                    f"{kind} '{name}' belongs to the plugin {broken.origin}, which is disabled: {broken.reason}"
                ) from broken.cause
        raise self._unknown(kind, name) from self._causes()

    def _unknown(self, kind: Kind, name: str) -> InputError:
        known = [component.name for component in self.of_kind(kind)]
        hint = did_you_mean(name, known) or f"`glta plugins --kind {kind}` lists all {len(known)}"
        for broken in self.broken:
            # Its import failed, so nobody knows what it would have declared.
            hint += f"\n  disabled: plugin {broken.origin}: {broken.reason}"
        return InputError(f"no {kind} is called '{name}'", hint=hint)

    def _causes(self) -> BaseException | None:
        causes = [broken.cause for broken in self.broken]
        return (
            BaseExceptionGroup("plugins that could not be loaded", causes)
            if len(causes) > 1
            else next(iter(causes), None)
        )

    def warn_of_broken(self) -> None:
        """One line on stderr for each plugin that could not be loaded."""
        for broken in self.broken:
            print(f"warning: plugin {broken.origin} is disabled: {broken.reason}", file=sys.stderr)


@cache
def installed() -> Registry:
    """The registry of this process, read once; warns of broken plugins."""
    registry = Registry()
    registry.warn_of_broken()
    return registry


def culprit(error: BaseException) -> Origin | None:
    """The plugin, other than glta's own, in whose code an error was raised last; None where there is none."""
    if not installed.cache_info().currsize:
        return None
    packages = {
        component.declaration.target.partition(":")[0].partition(".")[0]: component.origin
        for component in installed().components
        if component.origin.distribution != OWN_DISTRIBUTION
    }
    frames = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    found = [packages[name] for module in frames if (name := module.partition(".")[0]) in packages]
    return found[-1] if found else None


def reason_of(cause: BaseException) -> str:
    """What was raised, on one line."""
    text = " ".join(str(cause).split())
    if not isinstance(cause, PluginError):
        text = f"{type(cause).__name__}: {text}" if text else type(cause).__name__
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}..."


# ------------------------------------------------------------------------------------------ which plugins


def wanted(entries: Iterable[EntryPoint]) -> list[EntryPoint]:
    """The entry points to load: glta's own, and of the others those GLTA_LOAD_PLUGINS names, or all without it.

    Raises:
        InputError: GLTA_LOAD_PLUGINS names what is not installed.
    """
    listed = os.environ.get("GLTA_LOAD_PLUGINS")
    own: list[EntryPoint] = []
    others: list[EntryPoint] = []
    for entry in sorted(entries, key=lambda entry: (_origin(entry).distribution, entry.name)):
        (own if _origin(entry).distribution == OWN_DISTRIBUTION else others).append(entry)
    if listed is None:
        return own + others
    names = {_normalised(name) for name in listed.split(",") if name.strip()}
    chosen = [entry for entry in others if _names(entry) & names]
    unknown = names.difference(*map(_names, chosen))
    if unknown:
        known = sorted({_origin(entry).distribution for entry in others})
        raise InputError(
            f"no plugin is called {' or '.join(sorted(unknown))}",
            location="GLTA_LOAD_PLUGINS",
            hint=f"installed beside glta's own: {', '.join(known) or 'none'}",
        )
    return own + chosen


def _names(entry: EntryPoint) -> set[str]:
    return {_normalised(entry.name), _normalised(_origin(entry).distribution)}


def _normalised(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _origin(entry: EntryPoint) -> Origin:
    distribution = entry.dist
    if distribution is None:
        return Origin(entry.name, entry.value, "unknown")
    return Origin(entry.name, distribution.name, distribution.version)


# ----------------------------------------------------------------------------------------- loading one plugin


def _declarations(entry: EntryPoint) -> Iterator[Declaration]:
    """Load one entry point into a plugin manager of its own and yield what its hooks yield, checked."""
    plugin = entry.load()
    claimed = getattr(plugin, "GLTA_API_VERSION", API_VERSION)
    if claimed != API_VERSION:
        raise PluginError(f"was written for version {claimed!r} of the plugin API; this glta speaks {API_VERSION}")
    manager = pluggy.PluginManager(ENTRY_POINT_GROUP)
    manager.add_hookspecs(plugin_api)
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
                _check(declaration, kind, hook)
                yield declaration


def _check_hook_names(manager: pluggy.PluginManager) -> None:
    for name, caller in vars(manager.hook).items():
        if name.startswith("_") or caller.has_spec() or all(impl.optionalhook for impl in caller.get_hookimpls()):
            continue
        hint = did_you_mean(name, list(HOOK_OF_KIND.values()))
        raise PluginError(f"there is no hook called '{name}'" + (f"; {hint}" if hint else ""))


def _check(declaration: Any, kind: Kind, hook: str) -> None:
    """Raise `PluginError` unless `declaration` is one of that kind and says what it has to."""
    if not isinstance(declaration, Declaration) or declaration.kind != kind:
        named = isinstance(declaration, Declaration)
        shown = f"{declaration.kind} '{declaration.name}'" if named else reprlib.repr(declaration)
        raise PluginError(f"{hook} yields {shown}, which declares no {kind}")
    if not isinstance(declaration.extra, str | None):
        raise PluginError(f"{hook} yields a declaration whose extra is {declaration.extra!r}, not text")
    expected = {
        "name": r"[A-Za-z0-9][A-Za-z0-9._-]*",
        "summary": r"[^\n]+",
        "target": r"[\w.]+:\w+",
        "config": r"[\w.]+:\w+",
    }
    for attribute, pattern in expected.items():
        value = getattr(declaration, attribute)
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            form = "package.module:Name" if ":" in pattern else "one line" if attribute == "summary" else "a name"
            raise PluginError(f"{hook} yields a declaration whose {attribute} is {value!r}, not {form}")
