"""`glta plugins`: what is installed, and what is broken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glta_cli.commands.options import JsonOption
from glta_cli.errors import InputError, did_you_mean
from glta_cli.terminal import show_json, show_table

if TYPE_CHECKING:
    from rich.table import Table

    from glta_cli.plugin import Kind
    from glta_cli.registry import Registry

KINDS: tuple[Kind, ...] = ("encoder", "backbone", "dataset")
LARGEST_UNFOLDED_FAMILY = 3

Row = dict[str, Any]


def plugins(
    kind: Annotated[str | None, typer.Option("--kind", metavar="KIND", help="encoder, backbone or dataset.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the encoders, backbones and datasets installed.

    A plugin that cannot be loaded is shown with the reason.

    Example: glta plugins --kind dataset
    """
    if kind is not None and kind not in KINDS:
        hint = did_you_mean(kind, KINDS)
        raise InputError(f"'{kind}' is not one of {', '.join(KINDS)}", location="--kind", hint=hint)

    from glta_cli.registry import Registry

    found = rows(Registry())
    if kind is not None:
        found = [row for row in found if row["kind"] in (kind, "plugin")]
    if as_json:
        show_json(found)
    else:
        show_table(plugin_table(found if kind == "dataset" else folded(found)))


def rows(registry: Registry) -> list[Row]:
    """One row a component, by kind and name, then one a broken plugin, whose kind nobody knows."""
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
    for row in claims:
        rivals = [other["distribution"] for other in claims if other is not row]
        if rivals:
            row["status"] = f"broken: {', '.join(rivals)} declares the same name"


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


def plugin_table(listed: Iterable[Row]) -> Table:
    """Kind, name, summary or what is wrong, and where the component came from."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("kind", style="dim")
    table.add_column("name", style="cyan", no_wrap=True)
    table.add_column("summary")
    table.add_column("from", style="dim", overflow="fold")
    for row in listed:
        summary = escape(row["summary"]) if row["status"] == "ok" else f"[red]{escape(row['status'])}[/red]"
        table.add_row(row["kind"], escape(row["name"]), summary, f"{row['distribution']} {row['version']}")
    return table
