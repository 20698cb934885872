"""What a run's file says of its stages, written as they are reached, and why one could not be made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from glta_cli.recipe.schema import Recipe
from glta_cli.stages.lineage import SERVING, STAGES
from glta_cli.workspace.artefact import Artefact
from glta_cli.workspace.run import Run
from glta_cli.workspace.stored_recipe import deciding
from glta_cli.workspace.workspace import Workspace


def record_stages(
    name: str,
    resolved: Recipe,
    artefacts: Mapping[str, Artefact],
    sources: dict[str, list[Any]],
    workspace: Workspace,
    starts: Mapping[str, str],
) -> None:
    """Record the stages reached; later ones of the same run stay, as long as what they read is the same.

    Args:
        sources, starts: as those of `Run`.
    """
    from rich.markup import escape

    from glta_cli.core.terminal import say

    recipe = resolved.model_dump(mode="json")
    stages = {stage: artefact.fingerprint for stage, artefact in artefacts.items()}
    before = workspace.run(name)
    same = before is not None and _goes_on(deciding(before.recipe), deciding(recipe))
    if before is not None and not same:
        say(
            f"[yellow]warning[/]: run {escape(name)} had other settings until now; what it published stays, "
            "and --run with a new name keeps both"
        )
    if before is not None and same and all(before.stages.get(n, f) == f for n, f in stages.items()):
        kept_stages = dict(before.stages)
        if before.refitted != resolved.finetune.refit:
            kept_stages.pop(SERVING, None)  # it answers from what a refit takes the place of
        stages = {n: f for n in STAGES if (f := {**kept_stages, **stages}.get(n)) is not None}
    read_from = before.read_from if before is not None and same else None
    run = Run(name, recipe, stages, sources=sources, starts=dict(starts), read_from=read_from)
    finished = None if before is None or run.finished else before.last_finished
    if finished is not None:
        run = replace(run, before=finished.as_before())
    workspace.save_run(run)


def _goes_on(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether a run of these settings has the stages it had with the others: of the same ones, or a refit besides."""
    return before in (now, {**now, "finetune": {**now["finetune"], "refit": False}})


def record_served(
    name: str, artefact: Artefact, workspace: Workspace, *, sources: dict[str, list[Any]] | None = None
) -> None:
    """Note what a finished run answers from; all that it was trained into stays as it is.

    A run that is made anew meanwhile answers from it until it is finished again. Where it was finished anew while this
    was made, it has an index of its own by now, and nothing is noted: users and items of this one stand elsewhere.

    Args:
        sources: what was read for it, as `Run.sources`; None where that is what was read before.
    """
    run = workspace.run(name)
    finished = None if run is None else run.last_finished
    if run is None or finished is None:
        return
    made_of = {stage: made for stage, made in artefact.manifest["inputs"].items() if stage in STAGES[1:]}
    if any(finished.stages.get(stage, made) != made for stage, made in made_of.items()):
        from rich.markup import escape

        from glta_cli.core.terminal import say

        say(f"[yellow]warning[/]: run {escape(name)} was trained again meanwhile: it answers from that, not from this")
        return
    stages = {**finished.stages, artefact.stage: artefact.fingerprint}
    stages = {stage: stages[stage] for stage in STAGES if stage in stages}
    told = finished.sources if sources is None else sources
    if run.finished:
        workspace.save_run(replace(run, stages=stages, sources=told))
    else:
        workspace.save_run(replace(run, before=replace(finished, stages=stages, sources=told).as_before()))


def record_source(name: str, source: str, workspace: Workspace) -> None:
    """Note the source that an update was named, so that the next one reads that and not the recipe's."""
    run = workspace.run(name)
    if run is not None:
        workspace.save_run(replace(run, read_from=source))


@contextmanager
def failure_noted(name: str, resolved: Recipe, workspace: Workspace) -> Iterator[None]:
    """Note in the run's file why a stage could not be made, where the run is known and not finished."""
    from glta_cli.core.errors import BusyError, GltaError, InterruptedRunError

    try:
        yield
    except (BusyError, InterruptedRunError):
        raise  # it only waits
    except Exception as error:
        run = workspace.run(name)
        own = run is not None and deciding(run.recipe) == deciding(resolved.model_dump(mode="json"))
        if run is not None and own and not run.finished:
            problem = str(error).splitlines()[0] if isinstance(error, GltaError) else type(error).__name__
            with suppress(GltaError):  # a full disk is what is to be told, not that this cannot be noted
                workspace.save_run(replace(run, failed=problem))
        raise
