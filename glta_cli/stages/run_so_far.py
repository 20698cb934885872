"""What the run of a name is made of so far, where its settings are still those of the recipe."""

from __future__ import annotations

from typing import Any

from glta_cli.data.prepared import PreparedDataset
from glta_cli.recipe.schema import Recipe
from glta_cli.workspace.run import Run
from glta_cli.workspace.stored_recipe import deciding
from glta_cli.workspace.workspace import Workspace


def run_so_far(name: str, recipe: Recipe, workspace: Workspace, *, whatever_is_served: bool = False) -> Run | None:
    """The run of that name, or None where there is none, or its settings are others.

    Args:
        whatever_is_served: whether those of section `fusion` may differ, on which no training depends.
    """
    run = workspace.run(name)
    if run is None:
        return None
    before, now = deciding(run.recipe), deciding(recipe.model_dump(mode="json"))
    if whatever_is_served:
        before["fusion"] = now["fusion"] = None
    return run if before == now else None


def dataset_of(
    name: str, recipe: Recipe, source: str | None, workspace: Workspace
) -> tuple[PreparedDataset, bool, dict[str, list[Any]]]:
    """The dataset of a run, prepared now where it is not; whether it was there; and its files, as `Run.sources`.

    Args:
        source: what is read in place of the recipe's; None reads that.
    """
    from glta_cli.data.preparation import prepare, source_files

    settings = recipe.dataset if source is None else recipe.dataset.model_copy(update={"source": source})
    kept = _dataset_so_far(name, recipe, workspace) if source is None else None
    prepared, was_there = prepare(settings, workspace) if kept is None else (kept, True)
    return prepared, was_there, source_files(prepared, settings, workspace)


def _dataset_so_far(name: str, recipe: Recipe, workspace: Workspace) -> PreparedDataset | None:
    """What the run was prepared from before, where its recipe names no source that might have changed.

    The settings alone may lead to another copy by now, which a run of another name was given as its source.
    """
    run = workspace.run(name)
    if run is None or recipe.dataset.source is not None or "prepare" not in run.stages:
        return None
    if deciding(run.recipe)["dataset"] != recipe.dataset.model_dump(mode="json"):
        return None
    artefact = workspace.published("prepare", run.stages["prepare"])
    return None if artefact is None else PreparedDataset(artefact)
