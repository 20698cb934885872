"""`glta doctor`: what this machine, this installation and this workspace are like, and what is broken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from glta_cli.commands.options import DataDirOption, JsonOption
from glta_cli.core.terminal import say, show_json, show_table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from glta_cli.commands.doctor_findings import Finding

STYLES = {"ok": "", "warning": "yellow", "broken": "red"}


def doctor(data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """Look at this machine and installation: what is broken?

    Versions, device, threads, folders with their sizes, plugins, what of the hub and of PyPI is reachable, locks and
    runs. Nothing is written. It exits with 1 where something keeps glta from working.

    Example: glta doctor --json
    """
    from glta_cli.commands.doctor_findings import machine_findings, reachability_findings
    from glta_cli.commands.doctor_workspace import workspace_findings
    from glta_cli.workspace.workspace import Workspace

    workspace = Workspace(data_dir)
    found = [*machine_findings(), *workspace_findings(workspace), *reachability_findings()]
    broken = [each for each in found if each.state == "broken"]
    if as_json:
        show_json({"findings": [each.as_json() for each in found], "works": not broken})
    else:
        show_table(findings_table(found))
        wrong = [each for each in found if each.state != "ok"]
        say("nothing is wrong" if not wrong else f"{len(broken)} broken, {len(wrong) - len(broken)} to look at")
    if broken:
        raise typer.Exit(1)


def findings_table(found: Sequence[Finding]) -> RenderableType:
    """A finding a row, by subject, with its hint below it."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE, pad_edge=False, collapse_padding=True)
    table.show_header = False
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    subject = None
    for each in found:
        if subject not in (None, each.subject):
            table.add_section()
        subject = each.subject
        mark = "" if each.state == "ok" else f"[{STYLES[each.state]}]{each.state}:[/] "
        hint = f"\n[dim]hint: {escape(each.hint)}[/]" if each.hint else ""
        table.add_row(escape(each.name), f"{mark}{escape(each.value)}{hint}")
    return table
