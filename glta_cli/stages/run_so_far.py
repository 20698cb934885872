"""What the run of a name is made of so far, where its settings are still those of the recipe."""

from __future__ import annotations

from typing import Any

from glta_cli.core.errors import GltaError
from glta_cli.core.terminal import say
from glta_cli.data.prepared import PreparedDataset
from glta_cli.recipe.schema import Recipe
from glta_cli.stages.lineage import SERVING
from glta_cli.workspace.artefact import Artefact
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

    What is delisted where the run answers from stays so in it.

    Args:
        source: what is read in place of the recipe's; None reads that.
    """
    from glta_cli.data.preparation import prepare, source_files
    from glta_cli.stages.recipe_hints import hints_as_overrides

    settings = recipe.dataset if source is None else recipe.dataset.model_copy(update={"source": source})
    kept = _dataset_so_far(name, recipe, workspace) if source is None else None
    with hints_as_overrides():
        prepared, was_there = prepare(settings, workspace) if kept is None else (kept, True)
    sources = source_files(prepared, settings, workspace)
    if delisted := _delisted_so_far(name, recipe, prepared, workspace):
        from glta_cli.data.delisted_items import with_delisted

        prepared = with_delisted(prepared, delisted, settings, workspace)
    _tell_of_other_data(name, recipe, prepared, workspace)
    return prepared, was_there, sources


def _tell_of_other_data(name: str, recipe: Recipe, prepared: PreparedDataset, workspace: Workspace) -> None:
    """Say so where stages of the run were made from another dataset, and why it is one: they are made once more."""
    run = run_so_far(name, recipe, workspace, whatever_is_served=True)
    before = "" if run is None else run.stages.get("prepare", "")
    if run is None or before in ("", prepared.artefact.fingerprint):
        return
    last = next(reversed(run.stages))
    if last != "prepare":
        from rich.markup import escape

        made = f"run {name} was made as far as {last}: what is made from it is made again"
        then, now = _read_from(workspace.published("prepare", before)), _read_from(prepared.artefact)
        changed = then is not None and then != now
        why = "the data changed since" if changed else "the data are prepared otherwise now than when"
        text = f"{why} {made}"
        say(f"[yellow]note[/]: {escape(text)}")


def _read_from(dataset: Artefact | None) -> dict[str, str] | None:
    """The SHA-256 of each file of a dataset, by role; None where nobody knows."""
    if dataset is None:
        return None
    try:
        inputs = dataset.manifest["inputs"].items()
    except GltaError:
        return None  # damaged; whoever reads the dataset says so
    # What an update grew from is the name of another dataset, and no file.
    return {role: read["sha256"] for role, read in inputs if isinstance(read, dict)}


def answering_dataset(run: Run, workspace: Workspace) -> PreparedDataset | None:
    """What a run answers from, which an update may have brought up to date since it was trained; None where it is gone.

    Of one that answers nothing yet, what it was prepared from.
    """
    served = workspace.published(SERVING, run.stages.get(SERVING, ""))
    names = [run.stages.get("prepare", "")] if served is None else [served.parent("prepare").name]
    found = [workspace.published("prepare", name) for name in [*names, run.stages.get("prepare", "")]]
    return next((PreparedDataset(artefact) for artefact in found if artefact is not None), None)


def _delisted_so_far(name: str, recipe: Recipe, fresh: PreparedDataset, workspace: Workspace) -> list[str]:
    """Ids of the items that the run of that name answers no more, where it was prepared with the recipe's settings."""
    run = workspace.run(name)
    run = None if run is None else run.last_finished or run
    if run is None or deciding(run.recipe)["dataset"] != recipe.dataset.model_dump(mode="json"):
        return []
    from glta_cli.data.delisted_items import delisted_since

    try:
        answering = answering_dataset(run, workspace)
        return [] if answering is None else delisted_since(answering, fresh)
    except GltaError as error:
        # What it answers from is damaged, and made anew from here on.
        from rich.markup import escape

        problem = escape(error.problem)
        say(f"[yellow]warning[/]: what was delisted where run {escape(name)} answers from cannot be read: {problem}")
        return []


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
