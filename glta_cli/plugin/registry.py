"""Entry points to components: every plugin is loaded on its own, so a broken one is named and harms no other."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoint, packages_distributions

from glta_cli.core.errors import GltaError, InputError, PluginError, did_you_mean
from glta_cli.core.printable import printable, visible
from glta_cli.core.terminal import nothing_on_stdout, shortened
from glta_cli.plugin.component import ENDED, OWN_DISTRIBUTION, BrokenPlugin, Component, Origin
from glta_cli.plugin.declarations import Declaration, Kind
from glta_cli.plugin.discovery import discovered, origin_of, strict, wanted
from glta_cli.plugin.loading import declarations_of


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
        origin = origin_of(entry)
        declared: list[Declaration] = []
        try:
            # What a plugin prints while it is loaded must not end up among results.
            with nothing_on_stdout(), warnings.catch_warnings(action="ignore"):
                for declaration in declarations_of(entry):
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
        return InputError(f"no {kind} is called '{printable(shortened(name, LONGEST_NAME_SHOWN))}'", hint=hint)

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
            print(visible(f"warning: plugin {broken.origin} is disabled: {broken.reason}"), file=sys.stderr)


LONGEST_NAME_SHOWN = 60


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
