"""The tables of `glta runs`: all runs, one run, two runs side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from glta_cli.core.printable import printable
from glta_cli.core.storage import shown_bytes
from glta_cli.core.tables import broken
from glta_cli.recipe.fused_terms import ENCODER, LINEAR

NOTHING = "-"
# Columns of the terminal.
WIDEST_HEADING = 18


def run_table(found: Sequence[Mapping[str, Any]]) -> Table:
    """A run a row: name, when its last stage was published, dataset, what it is, how far it came, size on disk."""
    table = _table("", ("run", "cyan"), ("date", ""), ("dataset", ""), ("model", ""), ("state", ""))
    table.add_column("size", justify="right", no_wrap=True)
    for run in found:
        state = run["state"] + ("; answers as before" if run["answers"] and run["state"] != "finished" else "")
        cells = [run["run"], _date(run["date"]), run["dataset"], _model(run), state, shown_bytes(run["bytes"])]
        table.add_row(*map(escape, cells))
    return table


def full_table(report: Mapping[str, Any]) -> RenderableType:
    """What one run is, its stages, their metrics, and its settings that are not the defaults."""
    why = f": {report['failed']}" if report["failed"] else ""
    about = f"run {report['run']}: {_model(report)} on {report['dataset']}, {report['state']}{why}"
    if report["backbone"] or report["refitted"]:
        about += f"\nrefitted on everything: {'yes' if report['refitted'] else 'no'}"
    for start, line in zip(("\nanswers by ", "\n"), report["served"] or (), strict=False):
        about += start + line
    stages = _table("", ("stage", "cyan"), ("date", ""), ("fingerprint", ""))
    for name in ("seconds", "size"):
        stages.add_column(name, justify="right", no_wrap=True)
    metrics = _table("validation", ("stage", "cyan"), ("metric", ""))
    metrics.add_column("value", justify="right")
    for stage in report["stages"]:
        seconds = NOTHING if stage["seconds"] is None else f"{stage['seconds']:,.1f}"
        size = shown_bytes(stage["bytes"]) if stage["published"] else "is not there"
        stages.add_row(*map(escape, [stage["stage"], _date(stage["date"]), stage["fingerprint"], seconds, size]))
        for name, value in stage["metrics"].items():
            metrics.add_row(escape(stage["stage"]), escape(name), f"{value:.4f}")
    settings = _table("settings that are not the defaults", ("setting", "cyan"), ("value", ""))
    for name, value in report["settings"].items():
        settings.add_row(escape(name), escape(_shown(value)))
    threads = _thread_lines(report["stages"])
    tables = [table for table in (stages, metrics, settings) if table.row_count]
    return Group(escape(about), *tables[:1], *map(escape, threads), *tables[1:])


def _thread_lines(stages: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each number of threads that stages computed with, and why so many."""
    found: dict[str, list[str]] = {}
    for stage in stages:
        if stage["threads"] is not None:
            found.setdefault(stage["threads"], []).append(stage["stage"])
    every = len(found) == 1
    return [f"threads: {threads}" + ("" if every else f" ({', '.join(names)})") for threads, names in found.items()]


def comparison_table(report: Mapping[str, Any]) -> RenderableType:
    """The settings in which two runs differ, and their validation metrics, side by side."""
    first, second = map(escape, report["runs"])
    settings = _table("settings that differ", ("setting", "cyan"), (first, ""), (second, ""))
    for name, values in report["settings"].items():
        settings.add_row(escape(name), *(escape(_shown(value)) for value in values))
    metrics = _table("validation", ("stage", "cyan"), ("metric", ""))
    for name in report["runs"]:
        # Broken, so that both stay beside the metric: figures are short, and names may not be.
        metrics.add_column(escape(_heading(name)), justify="right", overflow="fold")
    for stage, measured in report["metrics"].items():
        for name, values in measured.items():
            shown = [NOTHING if value is None else f"{value:.4f}" for value in values]
            metrics.add_row(escape(stage), escape(name), *shown)
    tables = [table for table in (settings, metrics) if table.row_count]
    same = f"the same in both: {', '.join(report['same_stages'])}" if report["same_stages"] else "they share no stage"
    return Group(*tables, escape(same))


def _heading(name: str) -> str:
    """A name over several lines, of which none is wider than a heading may be."""
    pieces = broken(Text(printable(name)), WIDEST_HEADING).plain.split("\n")
    return "\n".join(line for piece in pieces for line in _cut(piece))


def _cut(piece: str) -> Iterator[str]:
    line = ""
    for letter in piece:
        if cell_len(line + letter) > WIDEST_HEADING:
            yield line
            line = ""
        line += letter
    yield line


def _table(title: str, *columns: tuple[str, str]) -> Table:
    table = Table(title=title or None, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, title_justify="left")
    for name, style in columns:
        table.add_column(name, style=style, overflow="fold")
    return table


def _model(report: Mapping[str, Any]) -> str:
    """What may take part in the answers: a run without a language model may have a linear row, alone too."""
    if report["backbone"]:
        return f"{report['backbone']} with {report['encoder']}"
    if LINEAR not in report["terms"]:
        return f"{report['encoder']} alone"
    return f"{report['encoder']} and a linear row" if ENCODER in report["terms"] else "a linear row alone"


def _date(date: str | None) -> str:
    """To the minute, in the time of this place."""
    return NOTHING if date is None else datetime.fromisoformat(date).astimezone().strftime("%Y-%m-%d %H:%M")


def _shown(value: Any) -> str:
    if value is None:
        return NOTHING
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
