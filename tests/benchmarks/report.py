"""The benchmarks' results as a table, as JSON and as a page with the plots of growth."""

from __future__ import annotations

import html
import io
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import mode
from typing import Any

from measure import Cost, Outcome
from rich import box
from rich.table import Table
from step import Measure

PACKAGES = ("glta", "torch", "transformers", "torch-geometric", "polars", "numpy")
INK = "#010203"
"""The plots' colour of text and lines until it is replaced by the page's own."""

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>glta: benchmarks</title>
<style>
:root {{ color-scheme: light dark; --line: light-dark(#d5d8dc, #3a3f45); }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }}
.wide {{ overflow-x: auto; }} table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .3rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }}
th:nth-child(-n+3), td:nth-child(-n+3) {{ text-align: left; }}
td:nth-child(-n+2) {{ white-space: normal; min-width: 8rem; }}
dt {{ font-weight: 600; margin-top: .6rem; }}
.missed {{ color: light-dark(#b3261e, #ff897d); }} .met {{ color: light-dark(#1b6e3c, #6fdc9b); }}
svg {{ max-width: 100%; height: auto; }}
</style>
<h1>Benchmarks</h1>
<p>{machine}</p>
<div class="wide"><table><tr>{header}</tr>
{rows}
</table></div>
<dl>
{notes}
</dl>
<h2>Growth</h2>
<p>Our side at 1, 4 and 16 times the data: seconds, and extra peak memory. The dotted line is linear growth.</p>
{plots}
</html>
"""
HEADER = ("step", "peer", "measure", "ours", "peer", "ratio", "target", "equal")


@dataclass(frozen=True)
class Line:
    """A step and one of its measures as text; `met` is None where there is no comparison."""

    cells: tuple[str, ...]
    met: bool | None


def lines(outcomes: Sequence[Outcome]) -> list[Line]:
    """A line for each step and measure with a target."""
    return [line(outcome, measure) for outcome in outcomes for measure in outcome.targets]


def line(outcome: Outcome, measure: Measure) -> Line:
    named, target = (outcome.name, outcome.peer_name, measure), outcome.targets[measure]
    ratio = outcome.ratio(measure)
    if ratio is None or outcome.ours is None or outcome.peer is None:
        equal = "no" if outcome.equal is False else "not compared"
        return Line((*named, "", "", "", f"{target:g}", equal), None)
    costs = (shown_cost(cost, measure) for cost in (outcome.ours, outcome.peer))
    met, aim = ratio >= target, f"{target:g}"
    if measure in outcome.limits:
        limit = outcome.limits[measure]
        met, aim = met and outcome.ours.of(measure) <= limit, f"{aim}, {limit:g} s"
    return Line((*named, *costs, f"{ratio:.3g}", aim, "yes"), met)


def shown_cost(cost: Cost, measure: Measure) -> str:
    value = cost.of(measure)
    if measure == "memory":
        return f"{value / 2**20:.1f} MiB"
    return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.3g} ms"


def table(outcomes: Sequence[Outcome]) -> Table:
    """The comparison; what misses its target is red."""
    usual = mode(outcome.runs for outcome in outcomes)
    others = {outcome.name: outcome.runs for outcome in outcomes if outcome.runs != usual}
    title = f"medians of {usual} calls in turn" + "".join(f"; {name}: {runs}" for name, runs in others.items())
    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for name in HEADER:
        shown.add_column(name, justify="left" if name in HEADER[:3] else "right")
    for each in lines(outcomes):
        cells = each.cells
        shown.add_row(*cells[:5], f"[{'green' if each.met else 'red'}]{cells[5]}[/]", *cells[6:])
    return shown


def write_report(outcomes: Sequence[Outcome], folder: Path) -> list[Path]:
    """Write `benchmarks.json` and `benchmarks.html`."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine(), "steps": [outcome.as_json() for outcome in outcomes]}
    data, page = folder / "benchmarks.json", folder / "benchmarks.html"
    data.write_text(json.dumps(content, indent=2) + "\n")
    page.write_text(html_page(outcomes))
    return [data, page]


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    return {
        "processor": cpu.partition(":")[2].strip(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "python": platform.python_version(),
        "packages": {package: version(package) for package in PACKAGES},
    }


def html_page(outcomes: Sequence[Outcome]) -> str:
    described = machine()
    packages = ", ".join(f"{name} {number}" for name, number in described.pop("packages").items())
    rows = []
    for each in lines(outcomes):
        texts = [html.escape(cell) for cell in each.cells]
        texts[5] = f'<span class="{"met" if each.met else "missed"}">{texts[5]}</span>'
        rows.append("<tr>" + "".join(f"<td>{text}</td>" for text in texts) + "</tr>")
    return PAGE.format(
        machine=html.escape(", ".join(f"{name} {value}" for name, value in described.items()) + f"; {packages}"),
        header="".join(f"<th>{name}</th>" for name in HEADER),
        rows="\n".join(rows),
        notes="\n".join(
            f"<dt>{html.escape(f'{outcome.name} / {outcome.peer_name}')}</dt><dd>{html.escape(text)}</dd>"
            for outcome in outcomes
            for text in (outcome.note, outcome.problem)
            if text
        ),
        plots="\n".join(growth_plot(outcome) for outcome in outcomes if len(outcome.growth) > 1),
    )


def growth_plot(outcome: Outcome) -> str:
    """An SVG: wall seconds and extra memory over size, both axes logarithmic."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    colours = {f"{part}.color": INK for part in ("text", "xtick", "ytick")} | {"axes.labelcolor": INK}
    with mpl.rc_context({"svg.fonttype": "none", "axes.edgecolor": INK, "font.size": 9, **colours}):
        figure, panes = plt.subplots(1, 2, figsize=(9, 2.6), layout="constrained")
        sizes = sorted(outcome.growth)
        costs = [outcome.growth[size] for size in sizes]
        # A logarithm needs something to take: work that needs no memory counts as a byte.
        seconds, mebibytes = [cost.wall for cost in costs], [max(cost.memory, 1) / 2**20 for cost in costs]
        for pane, values, label in zip(panes, (seconds, mebibytes), ("wall, s", "extra memory, MiB"), strict=True):
            pane.loglog(sizes, values, "o-", color="#2a78d6")
            pane.loglog(sizes, [values[0] * size for size in sizes], ":", color=INK, alpha=0.5)
            pane.set_xticks(sizes, [f"\u00d7{size}" for size in sizes])
            pane.minorticks_off()
            pane.set_ylabel(label)
            pane.spines[["top", "right"]].set_visible(False)
        figure.suptitle(outcome.name)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", transparent=True)
        plt.close(figure)
    return drawn.getvalue()[drawn.getvalue().index("<svg") :].replace(INK, "currentColor")
