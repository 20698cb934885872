"""Runs: a recipe under a name, with the stages published for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from glta_cli.core.errors import GltaError, InputError


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
    """The name as it is; raises `InputError` where it would lead out of a folder, or into a hidden one."""
    if not name or name.startswith(("/", ".")) or ".." in name.split("/"):
        raise InputError(f"'{name}' is no name for a run", hint="use letters, digits, - and _")
    return name
