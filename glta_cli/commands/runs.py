"""`glta runs`: the runs of a workspace, and whether what they are made of is what was written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glta_cli.commands.options import DataDirOption, JsonOption
from glta_cli.core.errors import GltaError, InputError
from glta_cli.core.terminal import printable, say, show_json, show_table
from glta_cli.workspace.details import histories, scalars

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from glta_cli.workspace.run import Run
    from glta_cli.workspace.workspace import Workspace

SHOWN_METRIC = "ndcg@10"


runs = typer.Typer(rich_markup_mode=None)


@runs.callback(invoke_without_command=True)
def list_runs(context: typer.Context, data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """List the runs with stages and metrics, or verify one.

    Example: glta runs --json
    """
    if context.invoked_subcommand is not None:
        given = "--json" if as_json else "--data-dir" if data_dir is not None else None
        if given is not None:
            raise InputError(
                f"stands before `{context.invoked_subcommand}`",
                location=given,
                hint=f"write it behind: glta runs {context.invoked_subcommand} {given}",
            )
        return
    from rich.markup import escape

    from glta_cli.workspace.workspace import Workspace

    workspace = Workspace(data_dir)
    found = []
    for name in workspace.run_names():
        try:
            found.append(run_report(workspace, workspace.required_run(name)))
        except GltaError as error:
            # One that is damaged hides none of the others.
            from rich.markup import escape

            say(f"[yellow]warning[/]: {escape(str(error))}")
    if as_json:
        show_json(found)
    elif found:
        show_table(run_table(found))
    else:
        say(f"no runs in {escape(str(workspace.root))}; [bold]glta recommend --user 42[/bold] makes the first")


@runs.command()
def verify(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="A run; the latest one if left out.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All runs, and all that was published, whether a run has it or not.")
    ] = False,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read again every byte a run is made of, and name what was changed since it was written.

    Commands that use a run check what they read, but of a large index and of the language model's weights only what
    costs no time. Here all is hashed: the run's stages with their manifests, the index tensor by tensor, saved states,
    vectors and generated words that are kept for later runs, and the weights. It exits with 1 where anything differs.

    Example: glta runs verify --all
    """
    from glta_cli.stages.verification import verify_workspace
    from glta_cli.workspace.workspace import Workspace

    if run is not None and everything:
        raise InputError("goes with no run", location="--all", hint=f"leave out {run} or --all")
    workspace = Workspace(data_dir)
    if run is None and not everything:
        latest = workspace.latest_run()
        if latest is None:
            raise InputError("nothing was run here yet", location=str(workspace.root), hint="name one with --data-dir")
        run = latest.name
    found = verify_workspace(workspace, run)
    if as_json:
        show_json(found.as_json())
    else:
        for problem in found.problems:
            print(f"{printable(str(problem.path))}: {printable(problem.what)}\n  hint: {printable(problem.hint)}")
    read = f"{found.files:,} files with {found.bytes_read:,} bytes"
    if found.problems:
        say(f"{read} were read; {len(found.problems)} of them changed or missing")
        raise typer.Exit(1)
    say(f"[green]✓[/] {read} are what was written")


def run_report(workspace: Workspace, run: Run) -> dict[str, Any]:
    """What a run is made of: dataset, components, and per stage its fingerprint, state and metrics."""
    return {
        "run": run.name,
        "dataset": run.setting("dataset", "name"),
        "encoder": run.setting("graph", "encoder"),
        "backbone": run.setting("backbone", "name"),
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
