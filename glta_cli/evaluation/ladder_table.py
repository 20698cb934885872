"""The ladder as a table for the terminal, within 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich import box
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from glta_cli.core.counts import counted
from glta_cli.evaluation.tables import folded, report_tables

TITLE: Final = "What the language model adds"


def ladder_tables(report: Mapping[str, Any], *, beside: bool) -> Group:
    """The ladder; above it, where rows were asked for `beside` it, the tables of an evaluation."""
    return Group(*([report_tables(report)] if beside else []), ladder_table(report))


def ladder_table(report: Mapping[str, Any]) -> Table:
    """One row a rung: its figures, and the difference to the rung it is compared with.

    Args:
        report: of an evaluation, with its `ladder`.
    """
    ladder = report["ladder"]
    draws = report.get("draws", [])
    notes = [*([f"of the first of {len(draws)} draws of the split"] if draws else []), *ladder_notes(ladder)]
    lines = list(folded(notes))
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
    if apart := ladder["set_apart"]:
        yield from _apart(apart)
    yield "difference: NDCG@10 less that of the rung named; p: paired sign flips over users, not corrected for several"
    yield "seconds: to train or fit it with all it needs but the prepared data; of a sum, of both its terms"
    for rung in ladder["rungs"]:
        yield from _of_seeds(rung["number"], seeds, [_weights(found) for found in rung["sums"]])
        yield from _of_seeds(rung["number"], seeds, rung["served"])
    why: dict[str, list[str]] = {}
    for name, reason in ladder["left_out"].items():
        why.setdefault(reason, []).append(name)
    for reason, names in why.items():
        yield f"left out: {', '.join(names)} ({reason})"


def _apart(apart: Mapping[str, Any]) -> Iterator[str]:
    """How linear rungs differ from the run's own linear term."""
    own = "the run's own linear term is fitted with its row's defaults"
    for name, options in apart["settings"].items():
        set_to = ", ".join(f"{key} {value}" for key, value in options.items())
        yield f"{name} as evaluate.baselines sets it ({set_to}); {own}"
    if apart["tuned"]:
        yield f"linear rungs are tuned on validation; {own}"


def _of_seeds(number: int, seeds: Sequence[int], said: Sequence[str]) -> Iterator[str]:
    """What is said of a rung: once where it is the same of every seed."""
    if len(set(said)) == 1:
        yield f"{number}: {said[0]}"
    else:
        yield from (f"{number}, seed {seed}: {each}" for seed, each in zip(seeds, said, strict=False))


def _weights(found: Mapping[str, Any]) -> str:
    """The terms with their weights, such as `1·l3ae + 0.5/0.4/0.3·smollm2 (histories from 0, 6, 12 items)`."""
    fusion, terms = found["fusion"], found["terms"]
    if fusion is None:
        return f"{terms[0]} alone, for validation finds no sum better"
    by_term = list(zip(*fusion["weights"], strict=True))
    shown = " + ".join(f"{_by_step(weights)}·{term}" for term, weights in zip(terms, by_term, strict=True))
    if all(len(set(weights)) == 1 for weights in by_term):
        return shown
    return f"{shown} (histories from {', '.join(map(str, fusion['starts']))} items)"


def _by_step(weights: Sequence[float]) -> str:
    """A term's weights by history length; of equal ones, one."""
    return "/".join(f"{weight:g}" for weight in (weights if len(set(weights)) > 1 else weights[:1]))
