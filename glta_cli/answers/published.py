"""The index a finished run answers from, found without torch."""

from __future__ import annotations

from pathlib import Path

from glta_cli.core.errors import InputError
from glta_cli.core.terminal import say
from glta_cli.serving.index import readable
from glta_cli.serving.recommender import AskedRun
from glta_cli.stages.lineage import SERVING
from glta_cli.stages.parameter_files import FULL_PARAMETERS
from glta_cli.workspace.artefact import Artefact
from glta_cli.workspace.run import Run as StoredRun
from glta_cli.workspace.source_changes import tell_changed_sources
from glta_cli.workspace.workspace import Workspace


def published_index(run: str | None, data_dir: Path | None) -> tuple[AskedRun, Artefact] | None:
    """The run and its index where one is published: answering from it needs no torch.

    A finished run of 0.1 answers from what it has, and a line says that this is not all that is known; one that was
    measured before it was asked gets its serving index first.

    Args:
        run: its name; None for the latest finished one.
    """
    workspace = Workspace(data_dir)
    stored = workspace.answering_run(run)
    if stored is None or not stored.finished:
        return None
    artefact = _readable(workspace, stored, SERVING)
    if artefact is None:
        encoder = workspace.published("pretrain-graph", stored.stages.get("pretrain-graph", ""))
        if encoder is not None and encoder.has(FULL_PARAMETERS):
            return None
        artefact = _readable(workspace, stored, "index")
        if artefact is None:
            return None
        from rich.markup import escape

        say(
            f"[yellow]note[/]: run {escape(stored.name)} is of 0.1 and answers from training items alone; "
            "[bold]glta update[/] takes in all that is known"
        )
    tell_changed_sources(stored, workspace, named=run is not None, data_dir=data_dir)
    return AskedRun(stored.name, stored.dataset), artefact


def required_index(run: str | None, data_dir: Path | None) -> tuple[AskedRun, Artefact]:
    """The same; raises `InputError` where nothing is published that could answer."""
    found = published_index(run, data_dir)
    if found is not None:
        return found
    if run is None:
        problem, hint = "no run has finished yet", "glta recommend --user ID makes one"
    else:
        problem = f"run {run} has published nothing to answer from"
        hint = f"glta recommend --user ID --run {run} makes what it lacks; glta runs lists what there is"
    raise InputError(problem, location="run", hint=hint)


def _readable(workspace: Workspace, run: StoredRun, stage: str) -> Artefact | None:
    """What a run published for a stage that answers, in a layout this version reads."""
    artefact = workspace.published(stage, run.stages[stage]) if stage in run.stages else None
    return artefact if artefact is not None and readable(artefact.manifest["settings"].get("layout")) else None
