"""`glta runs`: the runs of a workspace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from glta_cli.commands.options import DataDirOption, JsonOption
from glta_cli.core.terminal import say, show_json, show_table
from glta_cli.workspace.details import histories, scalars

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from glta_cli.workspace.run import Run
    from glta_cli.workspace.workspace import Workspace

SHOWN_METRIC = "ndcg@10"


def runs(data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """List the runs with their stages and metrics.

    Example: glta runs --json
    """
    from rich.markup import escape

    from glta_cli.workspace.workspace import Workspace

    workspace = Workspace(data_dir)
    found = [run_report(workspace, workspace.required_run(name)) for name in workspace.run_names()]
    if as_json:
        show_json(found)
    elif found:
        show_table(run_table(found))
    else:
        say(f"no runs in {escape(str(workspace.root))}; [bold]glta recommend --user 42[/bold] makes the first")


def run_report(workspace: Workspace, run: Run) -> dict[str, Any]:
    """What a run is made of: dataset, components, and per stage its fingerprint, state and metrics."""
    return {
        "run": run.name,
        "dataset": run.recipe["dataset"]["name"],
        "encoder": run.recipe["graph"]["encoder"],
        "backbone": run.recipe["backbone"]["name"],
        "stages": [_stage_report(workspace, stage, name) for stage, name in run.stages.items()],
    }


def _stage_report(workspace: Workspace, stage: str, fingerprint: str) -> dict[str, Any]:
    artefact = workspace.published(stage, fingerprint)
    details = {} if artefact is None else artefact.details
    return {
        "stage": stage,
        "fingerprint": fingerprint,
        "published": artefact is not None,
        "seconds": None if artefact is None else artefact.manifest["seconds"],
        "metrics": dict(_best_metrics(details)),
    }


def _best_metrics(details: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The validation metrics of the epoch each training kept, under dotted names."""
    best = dict(scalars(details))
    for training, epochs in histories(details):
        prefix = f"{training}." if training else ""
        kept = [epoch for epoch in epochs if epoch["epoch"] == best[f"{prefix}best_epoch"]]
        yield from ((f"{prefix}{metric}", epoch[metric]) for epoch in kept for metric in epoch if "@" in metric)


def run_table(found: Sequence[dict[str, Any]]) -> Table:
    """Run, dataset, backbone, its last published stage, total time and validation metrics."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("run", style="cyan", overflow="fold")
    table.add_column("dataset", overflow="fold")
    table.add_column("backbone")
    table.add_column("last stage")
    table.add_column("time", justify="right")
    table.add_column(f"validation {SHOWN_METRIC}", no_wrap=True)
    for run in found:
        published = [stage for stage in run["stages"] if stage["published"]]
        table.add_row(
            escape(run["run"]),
            escape(run["dataset"]),
            escape(run["backbone"]),
            escape(published[-1]["stage"]) if published else "none",
            _duration(sum(stage["seconds"] for stage in published)),
            "\n".join(_shown_metric(stage) for stage in published if stage["metrics"]),
        )
    return table


def _shown_metric(stage: Mapping[str, Any]) -> str:
    # A stage that trains twice names its main training first.
    value = next(value for name, value in stage["metrics"].items() if name.endswith(SHOWN_METRIC))
    return f"{value:.4f} {stage['stage']}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
