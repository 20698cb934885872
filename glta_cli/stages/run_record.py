"""What a run's file says of its stages, written as they are reached, and why one could not be made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from glta_cli.core.storage import ReadOnlyError
from glta_cli.recipe.schema import Recipe
from glta_cli.stages.lineage import SERVING, STAGES
from glta_cli.workspace.artefact import Artefact
from glta_cli.workspace.run import Run
from glta_cli.workspace.stored_recipe import deciding
from glta_cli.workspace.workspace import Workspace

# Seconds: a run's file is read and written in a few thousandths of one.
LONGEST_WAIT = 30


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
    stages = {stage: artefact.fingerprint for stage, artefact in artefacts.items()}
    reached = Run(name, resolved.model_dump(mode="json"), stages, sources=sources, starts=dict(starts))
    _change(name, workspace, partial(_gone_on, reached, refitted=resolved.finetune.refit))


def _change(name: str, workspace: Workspace, change: Callable[[Run | None], Run | None]) -> None:
    """Write what `change` makes of a run; nobody writes it between the look at it and that."""
    with ExitStack() as held:
        with suppress(ReadOnlyError):  # then nobody can write it, and what is the same need not be written
            held.enter_context(workspace.locked(f"run-{name}", wait=LONGEST_WAIT))
        run = change(workspace.run(name))
        if run is not None:
            workspace.save_run(run)


def _gone_on(reached: Run, before: Run | None, *, refitted: bool) -> Run:
    """A run that reached some stages now, with what it has of before."""
    stages = reached.stages
    same = before is not None and _goes_on(deciding(before.recipe), deciding(reached.recipe))
    if before is not None and not same:
        _tell_of_other_settings(before)
    if before is not None and same and all(before.stages.get(n, f) == f for n, f in stages.items()):
        kept_stages = dict(before.stages)
        if before.refitted != refitted:
            kept_stages.pop(SERVING, None)  # it answers from what a refit takes the place of
        stages = {n: f for n in STAGES if (f := {**kept_stages, **stages}.get(n)) is not None}
    read_from = before.read_from if before is not None and same else None
    run = replace(reached, stages=stages, read_from=read_from)
    finished = None if before is None or run.finished else before.last_finished
    return run if finished is None else replace(run, before=finished.as_before())


def _tell_of_other_settings(before: Run) -> None:
    """Say that a run is no more what it was trained into; one that only read its data was nothing yet."""
    from rich.markup import escape

    from glta_cli.core.terminal import say

    if before.last_finished is not None or before.stages.keys() - {"prepare"}:
        say(
            f"[yellow]warning[/]: run {escape(before.name)} had other settings until now; what it published stays, "
            "and --run with a new name keeps both"
        )


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
    _change(name, workspace, partial(_answering_from, artefact, sources))


def _answering_from(artefact: Artefact, sources: dict[str, list[Any]] | None, run: Run | None) -> Run | None:
    finished = None if run is None else run.last_finished
    if run is None or finished is None:
        return None
    made_of = {stage: made for stage, made in artefact.manifest["inputs"].items() if stage in STAGES[1:]}
    if any(finished.stages.get(stage, made) != made for stage, made in made_of.items()):
        from rich.markup import escape

        from glta_cli.core.terminal import say

        say(f"[yellow]warning[/]: run {escape(run.name)} was trained again meanwhile: it answers from that, not this")
        return None
    stages = {**finished.stages, artefact.stage: artefact.fingerprint}
    stages = {stage: stages[stage] for stage in STAGES if stage in stages}
    told = finished.sources if sources is None else sources
    if run.finished:
        return replace(run, stages=stages, sources=told)
    return replace(run, before=replace(finished, stages=stages, sources=told).as_before())


def record_source(name: str, source: str, workspace: Workspace) -> None:
    """Note the source that an update was named, so that the next one reads that and not the recipe's."""
    _change(name, workspace, lambda run: None if run is None else replace(run, read_from=source))


@contextmanager
def failure_noted(name: str, resolved: Recipe, workspace: Workspace) -> Iterator[None]:
    """Note in the run's file why a stage could not be made, where the run is known and not finished."""
    from glta_cli.core.errors import BusyError, GltaError, InterruptedRunError

    try:
        yield
    except (BusyError, InterruptedRunError):
        raise  # it only waits
    except Exception as error:
        problem = str(error).splitlines()[0] if isinstance(error, GltaError) else type(error).__name__
        if workspace.run(name) is not None:
            with suppress(GltaError):  # a full disk is what is to be told, not that this cannot be noted
                _change(name, workspace, partial(_failed, resolved.model_dump(mode="json"), problem))
        raise


def _failed(recipe: Mapping[str, Any], problem: str, run: Run | None) -> Run | None:
    own = run is not None and deciding(run.recipe) == deciding(recipe)
    return replace(run, failed=problem) if run is not None and own and not run.finished else None
