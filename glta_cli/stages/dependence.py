"""What a stage follows from, and the fingerprint it is published and found under."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glta_cli.core.files import fingerprint
from glta_cli.recipe.schema import Recipe
from glta_cli.stages.same_interactions import published_on_same_interactions
from glta_cli.workspace.artefact import SCHEMA_VERSION
from glta_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from glta_cli.stages.stage import Stage


@dataclass(frozen=True)
class Dependence:
    """What a stage follows from under one recipe.

    Attributes:
        settings: the part of the recipe it depends on and, of a training that went on from another, `warm_start_from`.
        inputs: by stage, the fingerprints of what it reads.
        weights: the fingerprint of the language model's; None where it reads none.
        start: the fingerprint of what the training before published; None where there is none to go on from.
    """

    stage: Stage
    recipe: Recipe
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    weights: str | None
    start: str | None

    def found_in(self, workspace: Workspace) -> tuple[str, dict[str, Any]]:
        """The fingerprint and the settings it has in a workspace, whether it is published there or has yet to run.

        A training goes on from what was published before, as long as that is there or it is trained already. Where only
        texts changed since, a stage that reads none is what it was.
        """
        settings, name = dict(self.settings), self.stage.name
        if self.start is not None:
            warm = {**settings, "warm_start_from": self.start}
            started, before = self._identity(warm), workspace.published(name, self.start)
            if before is not None and (same := self._on_same_interactions(workspace, before.manifest["settings"])):
                return same, before.manifest["settings"]
            if before is not None or workspace.published(name, started) is not None:
                return started, warm
        for known in (settings, *self.stage.settings_of_more(self.recipe)):
            identity = self._identity(known)
            if workspace.published(name, identity) is not None:
                return identity, known
            if same := self._on_same_interactions(workspace, known):
                return same, known
        return self._identity(settings), settings

    def _identity(self, settings: Mapping[str, Any]) -> str:
        return fingerprint([SCHEMA_VERSION, self.stage.name, settings, self.inputs, self.weights])

    def _on_same_interactions(self, workspace: Workspace, settings: Mapping[str, Any]) -> str | None:
        if self.stage.reads_texts(self.recipe):
            return None
        return published_on_same_interactions(workspace, self.stage.name, settings, self.inputs, self.recipe.seed)
