"""Runs: a recipe under a name, with the stages published for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from glta_cli.core.errors import GltaError, InputError
from glta_cli.core.printable import bounded, visible

NAME_HINT = "use letters, digits, - and _"
# Bytes: a file system takes 255 a name, of which a temporary name beside it needs some.
LONGEST_PART = 200
LONGEST_NAME = 1_000


@dataclass(frozen=True)
class Run:
    """A named run: the recipe that was resolved and the stages published for it so far."""

    name: str
    recipe: dict[str, Any]
    stages: dict[str, str]

    def setting(self, section: str, name: str) -> Any:
        """One setting of the recipe; raises `GltaError` where the recipe does not have it."""
        values = self.recipe.get(section)
        if not isinstance(values, dict) or name not in values:
            raise GltaError(f"its recipe has no {section}.{name}", location=f"run {self.name}", hint="run it again")
        return values[name]

    @property
    def finished(self) -> bool:
        """Whether it has what ranks: the index or, of a recipe that stops there, the graph encoder."""
        section = self.recipe.get("finetune")
        stops_early = isinstance(section, dict) and section.get("enabled") is False
        return ("pretrain-graph" if stops_early else "index") in self.stages


def checked_run_name(name: str) -> str:
    """The name as it is; raises `InputError` where no file can be called so.

    That is one that would lead out of a folder or into a hidden one, is empty or too long, or has characters nobody
    would see.
    """
    parts = name.split("/")
    if not name or name.startswith(("/", ".")) or ".." in parts:
        raise InputError(f"'{name}' is no name for a run", hint=NAME_HINT)
    if visible(name) != name:
        raise InputError(f"'{name}' is no name for a run: it has characters that do not show", hint=NAME_HINT)
    if max(len(part.encode()) for part in parts) > LONGEST_PART or len(name.encode()) > LONGEST_NAME:
        raise InputError(
            f"'{bounded(name, 60)}' is no name for a run: it has {len(name):,} characters",
            hint="a shorter one; what it is about stands in its recipe",
        )
    return name
