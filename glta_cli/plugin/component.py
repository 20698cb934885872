"""One declared component: where it comes from, how it is imported and made, and what is said when that fails."""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glta_cli.core.errors import GltaError, PluginError, Terminated
from glta_cli.core.failures import raise_failure_of_system
from glta_cli.core.printable import printable
from glta_cli.core.terminal import nothing_on_stdout
from glta_cli.plugin.declarations import Asked, BaselineDeclaration, Declaration, Kind, TunableDeclaration
from glta_cli.plugin.grids import combinations

if TYPE_CHECKING:
    from pydantic import BaseModel

    from glta_cli.plugin.backbone_size import BackboneSize

OWN_DISTRIBUTION = "glta"
LONGEST_REASON = 240
# What a person or the system ends a process with; everything else a plugin raises is its own.
ENDED = (KeyboardInterrupt, Terminated)


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

    def candidates(self) -> list[dict[str, Any]]:
        """What an evaluation chooses its own settings from; nothing without a grid."""
        declaration = self.declaration
        if not isinstance(declaration, TunableDeclaration) or not declaration.grid:
            return []
        return declaration.combinations()

    def time_candidates(self) -> list[dict[str, Any]]:
        """What an evaluation chooses from beside them where the split is in time; nothing without a grid for it."""
        declaration = self.declaration
        if not isinstance(declaration, BaselineDeclaration) or not declaration.time_grid:
            return []
        return combinations(declaration.time_grid)

    def target(self) -> Any:
        """Import and return the component's class; raises `GltaError` with the original cause."""
        return self._imported(self.declaration.target)

    def needs_text_vectors(self) -> bool:
        """Whether its target asks for the vectors of item texts; imports it where the declaration does not say."""
        return self._asks_for("text_vectors", "needs_text_vectors")

    def size(self, *settings: Any) -> BackboneSize | None:
        """What a backbone's plugin says of its size under these settings; None where it says nothing."""
        path = getattr(self.declaration, "size", None)
        size: BackboneSize | None = None if path is None else self._imported(path)(*settings)
        return size

    def reads_histories(self) -> bool:
        """Whether its target embeds users by what they met, in order, and not by a graph; imports it as above."""
        return self._asks_for("histories", "reads_histories")

    def _asks_for(self, what: Asked, attribute: str) -> bool:
        declared = self.declaration.asks_for if isinstance(self.declaration, TunableDeclaration) else None
        return bool(getattr(self.target(), attribute, False)) if declared is None else what in declared

    def config(self) -> type[BaseModel]:
        """Import and return the pydantic model of the component's settings.

        Raises:
            GltaError: it cannot be imported, is no subclass of `Settings`, or takes unknown keys.
        """
        from glta_cli.plugin.settings import Settings

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
            raise_failure_of_system(cause)
            raise GltaError(
                f"{self._full_name()} cannot be made: {reason_of(cause)}", hint="--debug shows where; tell its author"
            ) from cause

    @contextmanager
    def named(self) -> Iterator[None]:
        """What is raised inside names the component, unless it is meant for the user: that passes.

        Raises:
            GltaError: with the original cause, and what checks the contract as its hint; of a full disk or memory,
                which are nobody's code, without either.
        """
        try:
            yield
        except (GltaError, *ENDED):
            raise
        except BaseException as cause:
            raise_failure_of_system(cause)
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
            raise_failure_of_system(cause)
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
