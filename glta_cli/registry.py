"""Entry points to components: every plugin is loaded on its own, so a broken one is named and harms no other."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

import pluggy

from glta_cli import plugin as plugin_api
from glta_cli.errors import GltaError, InputError, did_you_mean
from glta_cli.plugin import ENTRY_POINT_GROUP, HOOK_OF_KIND, Declaration, Kind

if TYPE_CHECKING:
    from pydantic import BaseModel


@dataclass(frozen=True)
class Origin:
    """The installed distribution an entry point belongs to."""

    entry_point: str
    distribution: str
    version: str


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
        return _import(self.declaration.target, self)

    def config(self) -> type[BaseModel]:
        """Import and return the pydantic model of the component's settings."""
        model: type[BaseModel] = _import(self.declaration.config, self)
        return model


@dataclass(frozen=True)
class BrokenPlugin:
    """A plugin that could not be loaded, and why."""

    origin: Origin
    cause: BaseException

    @property
    def reason(self) -> str:
        return f"{type(self.cause).__name__}: {self.cause}"


class Registry:
    """The components of all installed plugins."""

    def __init__(self, entries: Iterable[EntryPoint] | None = None) -> None:
        self.components: list[Component] = []
        self.broken: list[BrokenPlugin] = []
        for entry in entries if entries is not None else entry_points(group=ENTRY_POINT_GROUP):
            self._add(entry)

    def _add(self, entry: EntryPoint) -> None:
        distribution = entry.dist
        origin = Origin(
            entry_point=entry.name,
            distribution=distribution.name if distribution else entry.value,
            version=distribution.version if distribution else "unknown",
        )
        try:
            self.components += [Component(declared, origin) for declared in _declarations(entry)]
        except KeyboardInterrupt:
            raise
        except BaseException as cause:
            if os.environ.get("GLTA_STRICT_PLUGINS") == "1":
                raise
            self.broken.append(BrokenPlugin(origin, cause))

    def of_kind(self, kind: Kind) -> list[Component]:
        """All components of one kind, by name."""
        return sorted((c for c in self.components if c.kind == kind), key=lambda c: c.name)

    def find(self, kind: Kind, name: str) -> Component:
        """The one component of that kind and name.

        Raises:
            InputError: unknown name, or two distributions claim it.
        """
        found = [component for component in self.components if component.kind == kind and component.name == name]
        if len(found) == 1:
            return found[0]
        if found:
            claims = " and ".join(f"{c.origin.distribution} {c.origin.version}" for c in found)
            raise InputError(
                f"{kind} '{name}' is declared by {claims}",
                hint="uninstall one of them, or ask its author to rename it",
            )
        known = [component.name for component in self.of_kind(kind)]
        hint = did_you_mean(name, known) or f"`glta plugins --kind {kind}` lists all {len(known)}"
        if self.broken:
            hint += f"; {', '.join(b.origin.distribution for b in self.broken)} could not be loaded (`glta plugins`)"
        raise InputError(f"no {kind} is called '{name}'", hint=hint)

    def warn_of_broken(self) -> None:
        """One line on stderr for each plugin that could not be loaded."""
        for broken in self.broken:
            origin = broken.origin
            print(
                f"warning: plugin {origin.distribution} {origin.version} is disabled: {broken.reason}",
                file=sys.stderr,
            )


@cache
def installed() -> Registry:
    """The registry of this process, read once; warns of broken plugins."""
    registry = Registry()
    registry.warn_of_broken()
    return registry


def _declarations(entry: EntryPoint) -> list[Declaration]:
    """Load one entry point in a plugin manager of its own and collect what its hooks yield."""
    manager = pluggy.PluginManager(ENTRY_POINT_GROUP)
    manager.add_hookspecs(plugin_api)
    module = entry.load()
    manager.register(module, name=entry.name)
    manager.check_pending()

    declared: list[Declaration] = []
    for kind, hook in HOOK_OF_KIND.items():
        for batch in getattr(manager.hook, hook)():
            for declaration in batch:
                if not isinstance(declaration, Declaration) or declaration.kind != kind:
                    raise TypeError(f"{hook} yielded {declaration!r}, which declares no {kind}")
                declared.append(declaration)
    return declared


def _import(path: str, component: Component) -> Any:
    module_name, _, attribute = path.partition(":")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as cause:
        extra = component.declaration.extra
        raise GltaError(
            f"{component.kind} '{component.name}' of {component.origin.distribution} cannot be imported: {cause}",
            hint=f"pip install {extra}" if extra else None,
        ) from cause
