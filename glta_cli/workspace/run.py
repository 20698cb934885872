"""Runs: a recipe under a name, with the stages published for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from glta_cli.core.errors import GltaError, InputError
from glta_cli.core.printable import bounded, visible
from glta_cli.recipe.fused_terms import ENCODER, LANGUAGE, LINEAR, stored_terms

NAME_HINT = "use letters, digits, - and _"
# Bytes: a file system takes 255 a name, of which a temporary name beside it needs some.
LONGEST_PART = 200
LONGEST_NAME = 1_000


@dataclass(frozen=True)
class Run:
    """A named run: the recipe that was resolved and the stages published for it so far.

    Attributes:
        failed: why it stopped, where it did; None once it goes on.
        sources: the files its dataset was read from, absolute, each with its size in bytes, its time of writing in
            nanoseconds and its SHA-256; empty where they were fetched, and for runs of 0.1.
        before: what the run was when it was last finished, while it is made anew: recipe, stages, sources and starts.
        starts: by stage, the fingerprint of what an earlier training published that its own started from.
        read_from: the source named to an update, absolute, a pattern as it is; None reads the recipe's.
    """

    name: str
    recipe: dict[str, Any]
    stages: dict[str, str]
    failed: str | None = None
    sources: dict[str, list[Any]] = field(default_factory=dict)
    before: dict[str, Any] | None = None
    starts: dict[str, str] = field(default_factory=dict)
    read_from: str | None = None

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any]) -> Run:
        """A run as its file says it."""
        return cls(
            stored["name"],
            stored["recipe"],
            stored["stages"],
            stored.get("failed"),
            stored.get("sources", {}),
            stored.get("before"),
            stored.get("starts", {}),
            stored.get("read_from"),
        )

    def as_stored(self) -> dict[str, Any]:
        """What its file says; what there is nothing to say of is left out, as 0.1 did."""
        content: dict[str, Any] = {"name": self.name, "recipe": self.recipe, "stages": self.stages}
        optional = {
            "failed": self.failed,
            "sources": self.sources or None,
            "before": self.before,
            "starts": self.starts or None,
            "read_from": self.read_from,
        }
        return content | {key: value for key, value in optional.items() if value is not None}

    @property
    def dataset(self) -> str:
        """The name of its dataset; raises `GltaError` where its recipe has none."""
        return str(self.setting("dataset", "name"))

    def setting(self, section: str, name: str) -> Any:
        """One setting of the recipe; raises `GltaError` where the recipe does not have it."""
        values = self.recipe.get(section)
        if not isinstance(values, dict) or name not in values:
            raise GltaError(f"its recipe has no {section}.{name}", location=f"run {self.name}", hint="run it again")
        return values[name]

    @property
    def last_stage(self) -> str:
        """The stage after which it answers: the index, a refit where it has one, or where there is nothing beside it
        the graph encoder.
        """
        terms = stored_terms(self.recipe)
        if not self.refitted:
            return "pretrain-graph" if terms == (ENCODER,) else "index"
        if LANGUAGE in terms:
            return "refit-finetune"
        return "refit-fit-linear" if LINEAR in terms else "refit-pretrain-graph"

    @property
    def refitted(self) -> bool:
        """Whether its recipe has what is served trained on everything known."""
        section = self.recipe.get("finetune")
        return isinstance(section, dict) and section.get("refit") is True

    @property
    def finished(self) -> bool:
        """Whether all is trained that it answers from."""
        return self.last_stage in self.stages

    @property
    def last_finished(self) -> Run | None:
        """The run as it was last finished: as it is, or before it was begun anew; None where it never was."""
        if self.finished:
            return self
        return None if self.before is None else Run(self.name, **self.before)

    def as_before(self) -> dict[str, Any]:
        """What `before` says of a run like this one."""
        content: dict[str, Any] = {"recipe": self.recipe, "stages": self.stages}
        content |= {"sources": self.sources, "starts": self.starts}
        content |= {"read_from": self.read_from}
        return {key: value for key, value in content.items() if value or key not in ("starts", "read_from")}

    @property
    def state(self) -> str:
        """Finished, or how far it came and whether it failed there; what it answers from is no matter."""
        if self.finished:
            return "finished"
        last = next(reversed(self.stages), None)
        if self.failed is not None:
            return f"failed after {last}" if last else "failed"
        return f"stopped after {last}" if last else "not begun"


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
