"""Entry points to components: every plugin is loaded on its own, so a broken one is named and harms no other."""

from __future__ import annotations

import importlib
import os
import re
import reprlib
import shlex
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cache
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points, packages_distributions
from typing import TYPE_CHECKING, Any

import pluggy

from glta_cli import plugin as plugin_api
from glta_cli.errors import GltaError, InputError, PluginError, Terminated, did_you_mean
from glta_cli.plugin import (
    API_VERSION,
    ENTRY_POINT_GROUP,
    HOOK_OF_KIND,
    BackboneDeclaration,
    BaselineDeclaration,
    DatasetDeclaration,
    Declaration,
    EncoderDeclaration,
    Kind,
    LoggerDeclaration,
)
from glta_cli.terminal import nothing_on_stdout, printable

if TYPE_CHECKING:
    from pydantic import BaseModel

OWN_DISTRIBUTION = "glta"
LONGEST_REASON = 240
# What a person or the system ends a process with; everything else a plugin raises is its own.
ENDED = (KeyboardInterrupt, Terminated)
DECLARATIONS = (
    EncoderDeclaration,
    BackboneDeclaration,
    DatasetDeclaration,
    BaselineDeclaration,
    LoggerDeclaration,
)


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
            GltaError: it cannot be imported, is no subclass of `Settings`, or takes unknown keys.
        """
        from glta_cli.recipe import Settings

        model: type[BaseModel] = self._imported(self.declaration.config)
        strict = isinstance(model, type) and issubclass(model, Settings) and model.model_config.get("extra") == "forbid"
        if not strict:
            # Other models would take a misspelt key without a word.
            raise GltaError(
                f"{self._full_name()} has settings that are no subclass of glta_cli.plugin.Settings, or take unknown "
                f"keys: {self.declaration.config}",
                hint="write `class MySettings(Settings)`, with Settings from glta_cli.plugin",
            )
        return model

    def build(self, *arguments: Any) -> Any:
        """An instance of the target; raises `GltaError` that names the plugin and the original cause."""
        target = self.target()
        try:
            with nothing_on_stdout():
                return target(*arguments)
        except (GltaError, *ENDED):
            raise
        except BaseException as cause:
            raise GltaError(
                f"{self._full_name()} cannot be made: {reason_of(cause)}", hint="--debug shows where; tell its author"
            ) from cause

    @contextmanager
    def named(self) -> Iterator[None]:
        """What is raised inside names the component, unless it is meant for the user: that passes.

        Raises:
            GltaError: with the original cause, and what checks the contract as its hint.
        """
        try:
            yield
        except (GltaError, *ENDED):
            raise
        except BaseException as cause:
            raise GltaError(
                f"{self._full_name()}: {reason_of(cause)}",
                hint=f"glta_cli.testing.check_{self.kind}('{self.name}') says all that is wrong; --debug shows where",
            ) from cause

    def _imported(self, path: str) -> Any:
        module_name, _, attribute = path.partition(":")
        try:
            with nothing_on_stdout():
                return getattr(importlib.import_module(module_name), attribute)
        except ENDED:
            raise
        except BaseException as cause:
            extra = self.declaration.extra
            raise GltaError(
                f"{self._full_name()} cannot be imported: {reason_of(cause)}",
                hint=f"pip install {shlex.quote(extra)}" if extra else None,
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
        if entries is None:
            found, self.broken = discovered()
            entries = wanted(found)
        for entry in entries:
            self._add(entry)
        if self.broken and strict():
            raise self._refusal()

    def _add(self, entry: EntryPoint) -> None:
        origin = _origin(entry)
        declared: list[Declaration] = []
        try:
            # What a plugin prints while it is loaded must not end up among results.
            with nothing_on_stdout(), warnings.catch_warnings(action="ignore"):
                for declaration in _declarations(entry):
                    if any((d.kind, d.name) == (declaration.kind, declaration.name) for d in declared):
                        raise PluginError(f"{declaration.kind} '{declaration.name}' is declared twice")
                    declared.append(declaration)
                if not declared:
                    raise PluginError("declares nothing: is @hookimpl missing, or does its hook yield nothing?")
        except ENDED:
            raise
        except BaseException as cause:
            self.broken.append(BrokenPlugin(origin, cause, tuple(declared)))
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
        others = [component for component in self.components if component.name == name]
        if others:
            hint = " and ".join(f"{other.origin} has {_with_article(other.kind)} of that name" for other in others)
        else:
            hint = did_you_mean(name, known) or f"`glta plugins --kind {kind}` lists what there is"
        if "GLTA_LOAD_PLUGINS" in os.environ:
            hint += f"\n  left out: plugins that GLTA_LOAD_PLUGINS={os.environ['GLTA_LOAD_PLUGINS']!r} does not name"
        # Their import failed, so nobody knows what they would have declared: the likeliest first.
        for broken in sorted(self.broken, key=lambda broken: name not in str(broken.origin)):
            hint += f"\n  disabled: plugin {broken.origin}: {broken.reason}"
        return InputError(f"no {kind} is called '{name}'", hint=hint)

    def _refusal(self) -> GltaError:
        listed = "; ".join(f"plugin {broken.origin} is broken: {broken.reason}" for broken in self.broken)
        error = GltaError(listed, hint="without GLTA_STRICT_PLUGINS it is left out and everything else works")
        error.__cause__ = self._causes()
        return error

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


def strict() -> bool:
    """Whether a broken plugin, or a logger that fails, is an error: GLTA_STRICT_PLUGINS.

    Raises:
        InputError: its value is neither yes nor no.
    """
    value = os.environ.get("GLTA_STRICT_PLUGINS", "").strip().lower()
    if value in ("1", "true", "yes", "on"):
        return True
    if value in ("", "0", "false", "no", "off"):
        return False
    raise InputError(f"'{value}' is neither 1 nor 0", location="GLTA_STRICT_PLUGINS")


@cache
def installed() -> Registry:
    """The registry of this process, read once; warns of broken plugins."""
    registry = Registry()
    registry.warn_of_broken()
    return registry


def culprit(error: BaseException) -> str | None:
    """The plugin, other than glta's own, in whose code an error was raised last, and the line there; or None."""
    if not installed.cache_info().currsize:
        return None
    found = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        origin = _origin_of_module(frame.f_globals.get("__name__", ""))
        if origin is not None:
            found = f"plugin {origin}, {frame.f_code.co_filename}:{line}"
    return found


def _origin_of_module(module: str) -> Origin | None:
    """The distribution of a component that lives in the module, or in the module's package."""
    components = installed().components
    if any(c.origin.distribution == OWN_DISTRIBUTION and _is_within(module, c) for c in components):
        return None
    for component in components:
        if _is_within(module, component):
            owners = packages_distributions().get(module.partition(".")[0], [])
            # A target may be a class of a library, such as torch, whose errors are not the plugin's.
            return component.origin if not owners or component.origin.distribution in owners else None
    return None


def _with_article(kind: Kind) -> str:
    return f"an {kind}" if kind == "encoder" else f"a {kind}"


def _is_within(module: str, component: Component) -> bool:
    target = component.declaration.target.partition(":")[0]
    package = target.rpartition(".")[0] or target
    return module == package or module.startswith(f"{package}.")


def reason_of(cause: BaseException) -> str:
    """What was raised, on one line that a terminal and JSON can take."""
    try:
        text, kind = str(cause), type(cause).__name__
    except Exception:
        text, kind = "", "an exception that cannot be shown"
    text = " ".join(printable(text).encode("utf-8", "backslashreplace").decode().split())
    if not isinstance(cause, PluginError):
        text = f"{kind}: {text}" if text else kind
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}..."


# ------------------------------------------------------------------------------------------ which plugins


def discovered() -> tuple[list[EntryPoint], list[BrokenPlugin]]:
    """The entry points of all distributions, and those distributions whose list of them cannot be read."""
    try:
        return list(entry_points(group=ENTRY_POINT_GROUP)), []
    except Exception:
        # One damaged file is enough to end up here, whichever package it belongs to.
        return _discovered_one_by_one()


def _discovered_one_by_one() -> tuple[list[EntryPoint], list[BrokenPlugin]]:
    found: list[EntryPoint] = []
    broken: list[BrokenPlugin] = []
    for distribution in distributions():
        try:
            found += distribution.entry_points.select(group=ENTRY_POINT_GROUP)
        except Exception as cause:
            name, version = _name_and_version(distribution)
            broken.append(BrokenPlugin(Origin("entry_points.txt", name or "a package without a name", version), cause))
    return found, broken


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
    names = {_normalised(name) for name in listed.split(",") if name.strip()} - {OWN_DISTRIBUTION}
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
    name, version = (None, "unknown") if entry.dist is None else _name_and_version(entry.dist)
    return Origin(entry.name, name or entry.value, version)


def _name_and_version(distribution: Distribution) -> tuple[str | None, str]:
    """As its metadata has them: a package half removed may have none."""
    try:
        metadata = distribution.metadata
        name, version = (next(iter(metadata.get_all(key) or []), None) for key in ("Name", "Version"))
        return name, version or "unknown"
    except Exception:
        return None, "unknown"


# ----------------------------------------------------------------------------------------- loading one plugin


def _declarations(entry: EntryPoint) -> Iterator[Declaration]:
    """Load one entry point into a plugin manager of its own and yield what its hooks yield, checked."""
    plugin = entry.load()
    if isinstance(plugin, type):
        raise PluginError(f"its entry point names the class {plugin.__name__}: name a module or an instance")
    claimed = getattr(plugin, "GLTA_API_VERSION", API_VERSION)
    if type(claimed) is not int or claimed != API_VERSION:
        shown = reprlib.repr(claimed)
        raise PluginError(f"was written for version {shown} of the plugin API; this glta speaks {API_VERSION}")
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
    if not isinstance(declaration, Declaration) or declaration.kind != kind:
        named = isinstance(declaration, Declaration)
        shown = f"{declaration.kind} '{declaration.name}'" if named else reprlib.repr(declaration)
        raise PluginError(f"{hook} yields {shown}, which declares no {kind}")
    [declaration_type] = [each for each in DECLARATIONS if each.kind == kind]
    # One of an author's own class may lack what has a default.
    values: dict[str, Any] = {
        field.name: getattr(declaration, field.name, field.default) for field in fields(declaration_type)
    }
    if values["extra"] is not None:
        _check_text(values["extra"], "extra", r"[^\n]+", "one line", hook)
    _check_text(values["name"], "name", r"[A-Za-z0-9][A-Za-z0-9._-]*", "a name", hook)
    _check_text(values["summary"], "summary", r"[^\n]+", "one line", hook)
    for path in ("target", "config"):
        _check_text(values[path], path, r"[\w.]+:\w+", "package.module:Name", hook)
    values["summary"] = printable(values["summary"])
    if type(generates := values.get("generates", True)) is not bool:
        raise PluginError(f"{hook} yields a declaration whose generates is {reprlib.repr(generates)}, not a bool")
    return declaration_type(**values)


def _check_text(value: Any, attribute: str, pattern: str, form: str, hook: str) -> None:
    if type(value) is not str or not re.fullmatch(pattern, value):
        shown = reprlib.repr(value)
        raise PluginError(f"{hook} yields a declaration whose {attribute} is {shown}, not {form}")
