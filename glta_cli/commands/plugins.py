"""`glta plugins`: what is installed, and what is broken; all about one component; a package to start another from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glta_cli.commands import completion
from glta_cli.commands.options import JsonOption
from glta_cli.core.errors import InputError, did_you_mean
from glta_cli.core.terminal import say, show_json, show_table, show_text

# The plugin API brings pluggy with it, so it is imported inside the functions: `glta --help` does without.
if TYPE_CHECKING:
    from rich.table import Table

    from glta_cli.plugin import Kind
    from glta_cli.plugin.registry import Registry

LARGEST_UNFOLDED_FAMILY = 3
WIDEST_NAME = 32

Row = dict[str, Any]

KindArgument = Annotated[
    str,
    typer.Argument(
        metavar="KIND", help="encoder, backbone, dataset, baseline or logger.", autocompletion=completion.kinds
    ),
]

plugins = typer.Typer(rich_markup_mode=None)


@plugins.callback(invoke_without_command=True)
def list_plugins(
    context: typer.Context,
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            metavar="KIND",
            help="encoder, backbone, dataset, baseline or logger.",
            autocompletion=completion.kinds,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the plugins installed, show one, or start a new one.

    A plugin that cannot be loaded is listed with the reason.

    Example: glta plugins --kind dataset
    """
    if context.invoked_subcommand is not None:
        _refuse_before(context.invoked_subcommand, {"--kind": kind is not None, "--json": as_json})
        return
    wanted = None if kind is None else checked_kind(kind, "--kind")

    from glta_cli.plugin.registry import Registry

    found = rows(Registry())
    if wanted is not None:
        # A broken plugin may be of any kind, so its row stays.
        found = [row for row in found if row["kind"] in (wanted, "plugin")]
    if as_json:
        show_json(found)
    else:
        show_rows(found if wanted == "dataset" else folded(found))


def _refuse_before(subcommand: str, options: Mapping[str, bool]) -> None:
    """An option of the list does nothing for a subcommand: better an error than no word."""
    for option, given in options.items():
        if given:
            raise InputError(
                f"is an option of the list, not of `{subcommand}`",
                location=option,
                hint=f"`glta plugins {subcommand} --help` shows what may stand after it",
            )


@plugins.command()
def show(
    kind: KindArgument,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="As `glta plugins` lists it.", autocompletion=completion.components)
    ],
    as_json: JsonOption = False,
) -> None:
    """Show a component: its settings, and how to select it.

    Example: glta plugins show encoder lightgcn
    """
    from glta_cli.commands.plugins_show import described, show_component
    from glta_cli.plugin.registry import Registry

    found = described(Registry().find(checked_kind(kind, "KIND"), name))
    if as_json:
        show_json(found)
    else:
        show_component(found)


@plugins.command()
def new(
    kind: KindArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What recipes will call it.")],
    destination: Annotated[
        Path | None, typer.Argument(metavar="[DEST]", help="Folder to put it into; the current one without it.")
    ] = None,
) -> None:
    """Write a package with a small working component, to change it.

    Example: glta plugins new encoder mine
    """
    from rich.markup import escape

    from glta_cli.commands.plugins_new import new_package, next_commands, write_package

    chosen = checked_kind(kind, "KIND")
    package = new_package(chosen, name)
    folder = write_package(package, destination or Path())
    for path in package.files:
        show_text(str(folder / path))
    say(f"next, in {escape(str(folder))}:")
    for command in next_commands(chosen, name):
        say(f"  [bold]{escape(command)}[/bold]")


def checked_kind(kind: str, location: str) -> Kind:
    """One of the kinds there are; raises `InputError` with the nearest."""
    from glta_cli.plugin import KINDS

    for known in KINDS:
        if known == kind:
            return known
    raise InputError(f"'{kind}' is not one of {', '.join(KINDS)}", location=location, hint=did_you_mean(kind, KINDS))


def rows(registry: Registry) -> list[Row]:
    """One row a component, by kind and name, then one a broken plugin, whose kind nobody knows."""
    from glta_cli.plugin import KINDS

    listed = [
        {
            "name": component.name,
            "kind": component.kind,
            "distribution": component.origin.distribution,
            "version": component.origin.version,
            "status": "ok",
            "summary": component.declaration.summary,
        }
        for kind in KINDS
        for component in registry.of_kind(kind)
    ]
    for _, claims in groupby(listed, key=lambda row: (row["kind"], row["name"])):
        _mark_clash(list(claims))
    listed += [
        {
            "name": broken.origin.entry_point,
            "kind": "plugin",
            "distribution": broken.origin.distribution,
            "version": broken.origin.version,
            "status": f"broken: {broken.reason}",
            "summary": "",
        }
        for broken in registry.broken
    ]
    return listed


def _mark_clash(claims: Sequence[Row]) -> None:
    claimants = [_claimant(row) for row in claims]
    for row, claimant in zip(claims, claimants, strict=True):
        own = claimants.count(claimant)
        rivals = dict.fromkeys(other for other in claimants if other != claimant)
        found = [f"declared {'twice' if own == 2 else f'{own} times'} by {claimant}"] if own > 1 else []
        found += [f"also declared by {' and '.join(rivals)}"] if rivals else []
        if found:
            row["status"] = f"conflict: {', '.join(found)}"


def _claimant(row: Row) -> str:
    return f"{row['distribution']} {row['version']}"


def folded(listed: Iterable[Row]) -> list[Row]:
    """The rows with each large family of datasets, such as amazon-..., drawn together into one."""
    short: list[Row] = []
    for family, group in groupby(listed, key=_family):
        members = list(group)
        if family is None or len(members) <= LARGEST_UNFOLDED_FAMILY:
            short += members
            continue
        example = members[0]["name"]
        short.append(
            {
                **members[0],
                "name": f"{family[0]}-... ({len(members)})",
                "summary": f"{example} and {len(members) - 1} more: glta plugins --kind dataset",
            }
        )
    return short


def _family(row: Row) -> tuple[str, str] | None:
    if row["kind"] != "dataset" or row["status"] != "ok" or "-" not in row["name"]:
        return None
    return row["name"].split("-")[0], row["distribution"]


def show_rows(listed: Sequence[Row]) -> None:
    """The components, then the broken plugins in a table of their own: a cause needs the width of the terminal."""
    broken = [row for row in listed if row["kind"] == "plugin"]
    components = [row for row in listed if row["kind"] != "plugin"]
    if components:
        show_table(component_table(components))
    if broken:
        show_table(broken_table(broken))


def component_table(listed: Sequence[Row]) -> Table:
    """Kind, name, summary or what is wrong, and where the component came from."""
    from rich.markup import escape

    table = _table()
    table.add_column("kind", style="dim", no_wrap=True)
    longest = max(len(row["name"]) for row in listed)
    table.add_column("name", style="cyan", min_width=min(longest, WIDEST_NAME), overflow="fold")
    table.add_column("summary", overflow="fold")
    table.add_column("from", style="dim", overflow="fold")
    for row in listed:
        summary = escape(row["summary"]) if row["status"] == "ok" else f"[red]{escape(row['status'])}[/red]"
        table.add_row(row["kind"], escape(row["name"]), summary, _from(row))
    return table


def broken_table(listed: Sequence[Row]) -> Table:
    """Where each broken plugin came from, and why it is broken."""
    from rich.markup import escape

    table = _table()
    table.add_column("plugin", style="cyan", max_width=WIDEST_NAME, overflow="fold")
    table.add_column("status", style="red", overflow="fold")
    for row in listed:
        table.add_row(_from(row), escape(row["status"]))
    return table


def _table() -> Table:
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)


def _from(row: Row) -> str:
    from rich.markup import escape

    return escape(_claimant(row))
