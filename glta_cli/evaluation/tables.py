"""A report as tables for the terminal, each within 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import stdev
from typing import Any

from rich import box
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from glta_cli.core.counts import counted
from glta_cli.evaluation.parts_table import parts_table

SHOWN_METRICS = ("ndcg", "recall", "precision")
COLUMNS = 78
SPREAD_METRIC = "ndcg@10"


def report_tables(report: Mapping[str, Any]) -> Group:
    """Metrics, what a split that hides something or several draws came to, slices and costs, one below the other."""
    parts = parts_table(report)
    others = [slices_table(report), costs_table(report)]
    return Group(metrics_table(report), *([] if parts is None else [parts]), *others)


def metrics_table(report: Mapping[str, Any]) -> Table:
    """One row a model, the best of each column bold; below it, how the model compares with the best of the others."""
    names = list(next(iter(report["models"].values())))
    shown = [name for name in names if name.split("@")[0] in SHOWN_METRICS and not name.endswith("@5")]
    seeds = len(report["seeds"])
    about = [*served_in_words(report), *_compared(report)]
    if any(report["intervals"].values()):
        about.insert(0, "± half of the 95% bootstrap interval over users")
    if seeds > 1:
        about.insert(0, f"means of {seeds} seeds, {report['seeds'][0]} to {report['seeds'][-1]}")
    if "valid" in report["histories"]:
        about.append("histories at test: training and validation items")
    if "history" in report["histories"]:
        about.append("histories at test: training items, and of hidden users what is known of them")
    if report.get("draws"):
        about.append(f"of the first of {len(report['draws'])} draws; their means stand below")
    if report["refit"]:
        about.append("graph encoders were trained again on training and validation interactions, baselines were not")
    table = _table(
        f"{report['dataset']}, run {report['run']}: full ranking for {counted(report['users'], 'test user')}",
        "\n".join(about),
    )
    # Names broken at the @ and intervals on a line of their own: all of it fits into 80 columns.
    for name in shown:
        table.add_column(name.replace("precision", "prec.").replace("@", "\n@"), justify="right", no_wrap=True)

    def width(model: str, name: str) -> str:
        interval = report["intervals"][model].get(name)
        return f"\n±{(interval[1] - interval[0]) / 2:.4f}" if interval else ""

    _add_rows(table, report["models"], shown, width)
    return table


def slices_table(report: Mapping[str, Any]) -> Table:
    """NDCG of each slice of the test interactions."""
    slices = report["slices"]
    metric = next(iter(next(iter(next(iter(slices.values()))["models"].values()))))
    about = [f"{name}: {part['about']}; {counted(part['users'], 'user')}" for name, part in slices.items()]
    table = _table(f"{metric.replace('ndcg', 'NDCG')} by slice", "\n".join(about))
    for name in slices:
        table.add_column(name.replace(" ", "\n"), justify="right", no_wrap=True)
    by_model = {
        model: {name: part["models"][model][metric] for name, part in slices.items()} for model in report["models"]
    }
    _add_rows(table, by_model, list(slices), lambda model, name: "")
    return table


def costs_table(report: Mapping[str, Any]) -> Table:
    """What each row took, and how far its seeds lie apart."""
    several = len(report["seeds"]) > 1
    about = [
        "fit: training with all it needs but the prepared data; peak: of the whole process meanwhile",
        *folded([*tuned_lines(report), *chosen_lines(report)]),
    ]
    table = _table("cost", "\n".join(about))
    for name in ("fit\nseconds", "peak\nMiB", "users ranked\na second"):
        table.add_column(name, justify="right", no_wrap=True)
    if several:
        table.add_column("NDCG@10, standard\ndeviation of seeds", justify="right", no_wrap=True)
    for model, cost in report["costs"].items():
        peak = "" if cost["peak_mib"] is None else f"{cost['peak_mib']:,}"
        cells = [f"{cost['fit_seconds']:,.1f}", peak, f"{cost['users_per_second']:,.0f}"]
        if several:
            by_seed = report["by_seed"][model].get(SPREAD_METRIC)
            # One figure for every seed is that of a row that draws nothing at random.
            cells.append(f"{stdev(by_seed):.4f}" if by_seed and len(set(by_seed)) > 1 else "")
        table.add_row(escape(model), *cells)
    return table


def _table(title: str, caption: str) -> Table:
    table = Table(title=escape(title), caption=escape(caption), box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("model", no_wrap=True)
    return table


def _add_rows(
    table: Table,
    models: Mapping[str, Mapping[str, float]],
    shown: list[str],
    below: Callable[[str, str], str],
) -> None:
    """A row a model, the best of each column bold, with a line below each figure where `below` gives one."""
    for model, metrics in models.items():
        cells = []
        for name in shown:
            text = f"{metrics[name]:.4f}{below(model, name)}"
            best = max(row[name] for row in models.values())
            cells.append(f"[bold]{text}[/bold]" if metrics[name] == best else text)
        table.add_row(escape(model), *cells)


def tuned_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """What tuning chose, of the settings it tried several values of."""
    for name, tried in report["tuning"].items():
        candidates = [dict(_leaves(each["settings"])) for each in tried]
        keys = list(dict.fromkeys(key for candidate in candidates for key in candidate))
        varied = [key for key in keys if any(each.get(key) != candidates[0].get(key) for each in candidates)]
        varied += [key for key in report.get("chosen", {}).get(name, {}) if key not in varied]
        shown = dict(_leaves(report["settings"][name]))
        chosen = ", ".join(f"{_shortest(key, varied)} {shown[key]}" for key in varied if key in shown)
        yield f"{name}, tuned on validation: {chosen or 'one setting'} (best of {len(tried)})"


def folded(lines: Sequence[str]) -> Iterator[str]:
    """The lines within 80 columns, what goes on indented."""
    for line in lines:
        yield from textwrap.wrap(line, COLUMNS, subsequent_indent="  ", break_on_hyphens=False)


def chosen_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """What rows chose themselves while they were fitted, but for those whose tuning tells it."""
    for name, chosen in report.get("chosen", {}).items():
        if name not in report["tuning"]:
            shown = ", ".join(f"{key} {value:g}" for key, value in chosen.items())
            yield f"{name}, chosen on validation while fitted: {shown}"


def _leaves(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _shortest(key: str, keys: Sequence[str]) -> str:
    """The last part of a dotted key, where no other one ends so."""
    last = key.rpartition(".")[2]
    return last if sum(other.rpartition(".")[2] == last for other in keys) == 1 else key


def served_in_words(report: Mapping[str, Any]) -> Iterator[str]:
    """Which row validation found best, where it chose among several; of seeds that found others, each its own."""
    found: dict[tuple[str, int], list[str]] = {}
    for each in report["served"]:
        if each["chosen_among"]:
            found.setdefault((" + ".join(each["terms"]), each["chosen_among"]), []).append(str(each["seed"]))
    for (terms, among), seeds in found.items():
        where = "" if len(found) == 1 else f"seed{'s' if seeds[1:] else ''} {', '.join(seeds)}: "
        yield f"{where}glta is {terms}, the best of {among} on validation"


def _compared(report: Mapping[str, Any]) -> Iterator[str]:
    comparisons = [each for each in (report["comparison"], *report["comparisons"]) if each is not None]
    for comparison in comparisons:
        metric = comparison["metric"].replace("ndcg", "NDCG")
        difference, p = comparison["difference"], comparison["p"]
        yield f"{comparison['model']} less {comparison['against']}, {metric}: {difference:+.4f}, p = {p:.2g}"
    if comparisons:
        many = "" if len(comparisons) == 1 else ", not corrected for there being several"
        yield f"p: paired sign flips over users{many}"
