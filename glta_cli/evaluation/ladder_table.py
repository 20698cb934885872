"""The ladder as a table for the terminal, within 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

from rich import box
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from glta_cli.core.counts import counted
from glta_cli.evaluation.tables import report_tables

TITLE: Final = "What the language model adds"
_COLUMNS: Final = 78


def ladder_tables(report: Mapping[str, Any], *, beside: bool) -> Group:
    """The ladder; above it, where rows were asked for `beside` it, the tables of an evaluation."""
    return Group(*([report_tables(report)] if beside else []), ladder_table(report))


def ladder_table(report: Mapping[str, Any]) -> Table:
    """One row a rung: its figures, and the difference to the rung it is compared with.

    Args:
        report: of an evaluation, with its `ladder`.
    """
    ladder = report["ladder"]
    lines = [line for about in ladder_notes(ladder) for line in textwrap.wrap(about, _COLUMNS, subsequent_indent="  ")]
    table = Table(
        title=escape(f"{TITLE}\n{report['dataset']}, run {report['run']}: {counted(ladder['users'], 'test user')}"),
        caption=escape("\n".join(lines)),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("rung")
    for name in ("NDCG\n@10", "Recall\n@20", "less", "differ-\nence", "p", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    for rung in ladder["rungs"]:
        table.add_row(str(rung["number"]), escape(rung["shown"]), *_cells(rung))
    return table


def _cells(rung: Mapping[str, Any]) -> Iterator[str]:
    yield f"{rung['ndcg@10']:.4f}"
    yield f"{rung['recall@20']:.4f}"
    yield "" if rung["against"] is None else str(rung["against"])
    yield "" if rung["difference"] is None else f"{rung['difference']:+.4f}"
    yield "" if rung["p"] is None else f"{rung['p']:.2g}"
    yield shown_seconds(rung["fit_seconds"])


def shown_seconds(seconds: float) -> str:
    return f"{seconds:,.0f}" if seconds >= 100 else f"{seconds:.1f}"


def ladder_notes(ladder: Mapping[str, Any]) -> Iterator[str]:
    """What has to be known to read it, a sentence each."""
    seeds = ladder["seeds"]
    if len(seeds) > 1:
        yield f"means of {len(seeds)} seeds, {seeds[0]} to {seeds[-1]}"
    chosen = ladder["base_chosen"]
    if len(chosen) > 1:
        figures = ", ".join(f"{name} {figure:.4f}" for name, figure in chosen.items())
        yield f"{ladder['base']} is the best linear row on validation: NDCG@10 {figures}"
    yield "difference: NDCG@10 less that of the rung named; p: paired sign flips over users, not corrected for several"
    yield "seconds: to train or fit it with all it needs but the prepared data; of a sum, of both its terms"
    for rung in ladder["rungs"]:
        for place, found in enumerate(rung["sums"]):
            yield f"{_of_seed(rung, seeds, place)}: {_weights(found)}"
        if rung["served"]:
            alike = len(set(rung["served"])) == 1
            for place, found in enumerate(rung["served"][:1] if alike else rung["served"]):
                yield f"{_of_seed(rung, seeds, place if not alike else None)}: {found}"
    why: dict[str, list[str]] = {}
    for name, reason in ladder["left_out"].items():
        why.setdefault(reason, []).append(name)
    for reason, names in why.items():
        yield f"left out: {', '.join(names)} ({reason})"


def _of_seed(rung: Mapping[str, Any], seeds: list[int], place: int | None) -> str:
    where = f", seed {seeds[place]}" if len(seeds) > 1 and place is not None else ""
    return f"{rung['number']}{where}"


def _weights(found: Mapping[str, Any]) -> str:
    """The terms with their weights, such as `1·l3ae + 0.5/0.4/0.3·smollm2 (histories from 0, 6, 12 items)`."""
    fusion, terms = found["fusion"], found["terms"]
    if fusion is None:
        return f"{terms[0]} alone, for validation finds no sum better"
    steps = fusion["starts"]
    by_term = zip(*fusion["weights"], strict=True)
    shown = " + ".join(
        f"{'/'.join(f'{w:g}' for w in (each if len(set(each)) > 1 else each[:1]))}·{term}"
        for term, each in zip(terms, by_term, strict=True)
    )
    several = any(len(set(each)) > 1 for each in zip(*fusion["weights"], strict=True))
    return f"{shown} (histories from {', '.join(map(str, steps))} items)" if several else shown
