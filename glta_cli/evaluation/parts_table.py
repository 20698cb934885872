"""The table of a split that hides items or users, part by part, and of several draws of any split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from glta_cli.core.counts import counted

Models = Mapping[str, Mapping[str, float]]
CHANCE = "(chance)"


@dataclass(frozen=True)
class _Column:
    """One figure of one part: in all, of each draw where there are several, else with its interval."""

    title: str
    metric: str
    values: Models
    draws: Sequence[Models]
    intervals: Mapping[str, Mapping[str, tuple[float, float]]]
    chance: float | None = None

    def cell(self, row: str, *, dim: bool) -> str:
        value = self.values[row][self.metric]
        best = value == max(each[self.metric] for each in self.values.values())
        below = [f"{each[row][self.metric]:.4f}" for each in self.draws]
        if not below and (interval := self.intervals.get(row, {}).get(self.metric)):
            below = [f"±{(interval[1] - interval[0]) / 2:.4f}"]
        shown = f"[bold]{value:.4f}[/bold]" if best and not dim else f"{value:.4f}"
        lines = [shown, *(f"[dim]{line}[/dim]" if self.draws else line for line in below)]
        return "\n".join(f"[dim]{line}[/dim]" if dim else line for line in lines)


def parts_table(report: Mapping[str, Any]) -> Table | None:
    """A row a model; of each part NDCG and recall, means over the draws; None where there is but one figure of each."""
    cold, draws = report.get("cold_start"), report.get("draws", [])
    if not (cold or draws):
        return None
    columns = list(_of_parts(cold, report, draws) if cold else _of_whole(report, draws))
    title = f"cold start: {_hidden(cold)}" if cold else "the split drawn several times"
    table = Table(title=title, caption=escape("\n".join(_about(report))), box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("model", no_wrap=True)
    for column in columns:
        table.add_column(column.title, justify="right", no_wrap=True)
    blind = cold["blind"] if cold else []
    for row in report["mean_over_draws"]["models"] if draws else report["models"]:
        names = [row, *(f"[dim]  seed {draw['seed']}[/dim]" for draw in draws)]
        cells = [column.cell(row, dim=row in blind and column.title.startswith("cold\nitems")) for column in columns]
        table.add_row("\n".join([escape(names[0]), *names[1:]]), *cells)
    if cold:
        table.add_row(CHANCE, *("" if each.chance is None else f"{each.chance:.4f}" for each in columns), style="dim")
    return table


def _of_parts(
    cold: Mapping[str, Any], report: Mapping[str, Any], draws: Sequence[Mapping[str, Any]]
) -> Iterator[_Column]:
    for name, part in cold["parts"].items():
        if draws and name not in report["mean_over_draws"]["cold_start"]:
            continue  # not all draws have it
        values = report["mean_over_draws"]["cold_start"][name] if draws else part["models"]
        by_draw = [draw["cold_start"]["parts"][name]["models"] for draw in draws]
        for metric, chance in part["chance"].items():
            title = f"{name.replace(' ', chr(10))}\n{_broken(metric)}"
            yield _Column(title, metric, values, by_draw, part["intervals"], chance)


def _of_whole(report: Mapping[str, Any], draws: Sequence[Mapping[str, Any]]) -> Iterator[_Column]:
    values = report["mean_over_draws"]["models"]
    for metric in next(iter(values.values())):
        if metric.split("@")[0] in ("ndcg", "recall"):
            yield _Column(_broken(metric), metric, values, [draw["models"] for draw in draws], {})


def _hidden(cold: Mapping[str, Any]) -> str:
    hidden = cold["hidden"]
    return f"{hidden['valid']:,} {cold['hides']} hidden to choose by, {hidden['test']:,} for the test"


def _about(report: Mapping[str, Any]) -> Iterator[str]:
    cold, draws = report.get("cold_start"), report.get("draws", [])
    if draws:
        seeds = ", ".join(str(draw["seed"]) for draw in draws)
        yield f"means of {len(draws)} draws of the split, of seeds {seeds}, and each of them below"
    elif cold and any(any(part["intervals"].values()) for part in cold["parts"].values()):
        yield "± half of the 95% bootstrap interval over users"
    if not cold:
        return
    for name, part in cold["parts"].items():
        users, items = counted(part["users"], "user"), counted(part["candidates"], "item")
        yield f"{name}: {part['about']}; {users}, {items}"
    if cold["blind"]:
        names = ", ".join(cold["blind"])
        yield f"one score for all hidden items, which stand in the order of the catalogue then: {names}"
    if report["tuning"]:
        cold_ones, warm_ones = list(cold["parts"])[:2]
        yield f"tuned by the mean of validation NDCG@10 of {cold_ones} and {warm_ones}"
    yield f"{CHANCE}: a random order of the same items" + (", of the first draw" if draws else "")


def _broken(metric: str) -> str:
    return metric.replace("ndcg", "NDCG").replace("@", "\n@")
