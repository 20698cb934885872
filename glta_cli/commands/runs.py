"""`glta runs`: the runs of a workspace: shown, compared, verified, removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from glta_cli.commands import completion
from glta_cli.commands.options import DataDirOption, JsonOption
from glta_cli.core.counts import agreeing, counted
from glta_cli.core.errors import GltaError, InputError
from glta_cli.core.terminal import printable, say, show_json, show_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glta_cli.workspace.removal import Removal
    from glta_cli.workspace.workspace import Workspace

DryRemovalOption = Annotated[bool, typer.Option("--dry-run", help="Show what would go, and remove nothing.")]

runs = typer.Typer(rich_markup_mode=None)


@runs.callback(invoke_without_command=True)
def list_runs(context: typer.Context, data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """List the runs; show, compare, verify or remove them.

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

    from glta_cli.commands.runs_tables import run_table
    from glta_cli.workspace.run_reports import run_report
    from glta_cli.workspace.workspace import Workspace

    workspace = Workspace(data_dir)
    found = []
    for name in workspace.run_names():
        try:
            found.append(run_report(workspace, workspace.required_run(name)))
        except GltaError as error:
            # One that is damaged hides none of the others.
            say(f"[yellow]warning[/]: {escape(str(error))}")
    if as_json:
        show_json(found)
    elif found:
        show_table(run_table(found))
        if not all(each["state"] == "finished" for each in found):
            _tell_of_work(workspace)
    else:
        say(f"no runs in {escape(str(workspace.root))}; [bold]glta recommend --user 42[/bold] makes the first")


@runs.command()
def verify(
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="A run; the latest one if left out.", autocompletion=completion.runs),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All runs, and all that was published, whether a run has it or not.")
    ] = False,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read every byte of a run again, and name what was changed.

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
    read = f"{counted(found.files, 'file')} with {counted(found.bytes_read, 'byte')}"
    if found.problems:
        say(f"{read} {agreeing(found.files, 'was', 'were')} read; {len(found.problems)} of them changed or missing")
        raise typer.Exit(1)
    say(f"[green]✓[/] {read} {agreeing(found.files, 'is', 'are')} what was written")


@runs.command()
def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run.", autocompletion=completion.runs)],
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a run: its stages, metrics and changed settings.

    Example: glta runs show quickstart
    """
    from glta_cli.commands.runs_tables import full_table
    from glta_cli.workspace.run_reports import full_report
    from glta_cli.workspace.workspace import Workspace

    workspace = Workspace(data_dir)
    report = full_report(workspace, workspace.required_run(run))
    if as_json:
        show_json(report)
    else:
        show_table(full_table(report))


@runs.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="RUN", help="A run.", autocompletion=completion.runs)],
    second: Annotated[str, typer.Argument(metavar="RUN", help="Another run.", autocompletion=completion.runs)],
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set two runs side by side: settings that differ, and metrics.

    Example: glta runs compare quickstart trial
    """
    from glta_cli.commands.runs_tables import comparison_table
    from glta_cli.workspace.run_reports import comparison
    from glta_cli.workspace.workspace import Workspace

    workspace = Workspace(data_dir)
    report = comparison(workspace, workspace.required_run(first), workspace.required_run(second))
    if as_json:
        show_json(report)
    else:
        show_table(comparison_table(report))


@runs.command("remove")
def remove_one(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run.", autocompletion=completion.runs)],
    dry_run: DryRemovalOption = False,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove a run with all that no other run needs.

    That is its stages, states, logs and profiles.

    Example: glta runs remove trial --dry-run
    """
    from glta_cli.workspace.removal import removals_of_run, remove_run
    from glta_cli.workspace.workspace import Workspace

    workspace = Workspace(data_dir)
    found = removals_of_run(workspace, run)
    if not dry_run:
        remove_run(workspace, run, found)
    _show_removals(found, [], dry_run=dry_run, as_json=as_json)


@runs.command()
def gc(
    everything: Annotated[
        bool, typer.Option("--all", help="Downloads, vectors of texts and generated words too; they are made again.")
    ] = False,
    dry_run: DryRemovalOption = False,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove what no run needs.

    That is stages, states, and what killed processes left half written.

    What `glta evaluate` trained to compare with belongs to no run, and is trained again. While another process works
    here, stages and states stay.

    Example: glta runs gc --dry-run
    """
    from glta_cli.workspace.removal import removals_of_all, remove
    from glta_cli.workspace.workspace import Workspace

    workspace = Workspace(data_dir)
    found, busy = removals_of_all(workspace, everything=everything)
    if not dry_run:
        remove(workspace, found)
    _show_removals(found, busy, dry_run=dry_run, as_json=as_json)


def _tell_of_work(workspace: Workspace) -> None:
    """One line where a run that says it stopped may be at work: what is whose is known once it is published."""
    from contextlib import suppress

    from glta_cli.workspace.removal import held_locks

    # A folder that cannot be written has nobody at work in it.
    with suppress(GltaError, OSError):
        if held_locks(workspace):
            say("a glta command is at work here: a run shown as stopped may be the one it makes")


def _show_removals(found: Sequence[Removal], busy: Sequence[str], *, dry_run: bool, as_json: bool) -> None:
    from rich.markup import escape

    from glta_cli.core.storage import shown_bytes

    total = sum(each.bytes for each in found)
    if as_json:
        listed = [each.as_json() for each in found]
        show_json({"dry_run": dry_run, "removed": listed, "bytes": total, "busy": list(busy)})
    else:
        for each in found:
            print(f"{shown_bytes(each.bytes):>12}  {each.kind}  {printable(str(each.path))}")
    if busy:
        say(f"another process is working on {escape(', '.join(busy))}: stages and states stay until it ends")
    done = "dry run: nothing was removed, and would free" if dry_run else "removed:"
    say(
        f"{done} {shown_bytes(total)} in {counted(len(found), 'file or folder', 'files and folders')}"
        if found
        else "nothing to remove"
    )
