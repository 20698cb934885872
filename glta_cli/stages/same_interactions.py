"""Stages that read no text stay up to date where only texts changed: a renamed title trains nothing again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glta_cli.core.errors import GltaError
from glta_cli.data.prepared import INTERACTIONS_FILE, USERS_FILE, PreparedDataset
from glta_cli.workspace.artefact import Artefact
from glta_cli.workspace.workspace import Workspace


def published_on_same_interactions(
    workspace: Workspace, stage: str, settings: Mapping[str, Any], inputs: Mapping[str, str], seed: int
) -> str | None:
    """The fingerprint of what a stage published from a dataset that differs in titles and descriptions alone.

    Fingerprints name the dataset as a whole, as they did in 0.1, so that what was published stays found; this is where
    such a stage looks when nothing is published under its own.

    Args:
        settings, inputs: what the stage depends on; the dataset is `inputs["prepare"]`.
    """
    now = workspace.published("prepare", inputs["prepare"])
    if now is None:
        return None
    for folder in sorted((workspace.root / "stages" / stage).glob("[!.]*")):
        other = workspace.published(stage, folder.name)
        if other is not None and _same(other, now, settings, inputs, seed, workspace):
            return folder.name
    return None


def _same(
    other: Artefact,
    now: Artefact,
    settings: Mapping[str, Any],
    inputs: Mapping[str, str],
    seed: int,
    workspace: Workspace,
) -> bool:
    try:
        manifest = other.manifest
        made_of = {**manifest["inputs"], "prepare": inputs["prepare"]}
        if manifest["settings"] != dict(settings) or made_of != dict(inputs) or manifest.get("seed", seed) != seed:
            return False
        before = workspace.published("prepare", str(manifest["inputs"]["prepare"]))
        return before is not None and _same_interactions(before, now)
    except (GltaError, KeyError):
        return False  # damaged; whoever needs it says so


def _same_interactions(before: Artefact, now: Artefact) -> bool:
    """Whether two datasets have the same interactions, users and items under the same indices."""
    hashes = [artefact.manifest["outputs"] for artefact in (before, now)]
    if any(hashes[0][name] != hashes[1][name] for name in (INTERACTIONS_FILE, USERS_FILE)):
        return False
    return PreparedDataset(before).item_ids == PreparedDataset(now).item_ids
