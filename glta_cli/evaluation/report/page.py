"""The page: a report dictionary and extras in, the text of one HTML file out."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from glta_cli.core.printable import printable
from glta_cli.evaluation.ladder_table import TITLE, ladder_notes
from glta_cli.evaluation.report import figures
from glta_cli.evaluation.report.extras import Extras
from glta_cli.evaluation.report.figures import main_metric, metric_name, short, shown_seconds
from glta_cli.evaluation.report.marks import Mark, model_marks
from glta_cli.evaluation.report.plots import swatch
from glta_cli.evaluation.tables import served_in_words

SIGNIFICANT = 0.05
MOST_TRIED = 200
WORD_TABLE = 12
MOST_CURVE_COLUMNS = 10


@dataclass(frozen=True)
class Figure:
    """A cell of the main table.

    Attributes:
        value: the mean over users and seeds, as text.
        best: whether no other model's is larger.
        half: half the width of the interval, as text; empty without one.
        interval: its ends, as text.
        spread: standard deviation over the seeds, as text; empty for one seed.
    """

    value: str
    best: bool
    half: str = ""
    interval: str = ""
    spread: str = ""


def report_page(report: Mapping[str, Any], extras: Extras) -> str:
    """The whole page as HTML; every text of the report and the extras is escaped.

    Args:
        report: as `evaluate_run` returns it.
    """
    marks = model_marks(report["models"], extras.encoder)
    found, chance = comparison_in_words(report["comparison"], ", the best of the rows it is compared with")
    return _template().render(
        report=report,
        extras=extras,
        marks=marks,
        swatches={name: swatch(mark) for name, mark in marks.items()},
        metrics=list(next(iter(report["models"].values()))),
        main_metric=main_metric(report),
        rows=main_table(report),
        has_spread=any(len(values) > 1 for row in report["by_seed"].values() for values in row.values()),
        has_intervals=any(report["intervals"].values()),
        served=list(served_in_words(report)),
        found=found,
        chance=chance,
        variants=[" ".join(comparison_in_words(each)) for each in report["comparisons"]],
        quality_plot=figures.quality_plot(report, marks),
        curve_plots=figures.curve_plots(report, marks),
        curve_cutoffs=curve_cutoffs(report["curves"]),
        cost_plot=figures.cost_plot(report, marks),
        slices=figures.slice_plots(report, marks),
        slice_metrics=_slice_metrics(report["slices"]),
        cold=report.get("cold_start"),
        draws=report.get("draws", []),
        means=report.get("mean_over_draws", {}).get("cold_start", {}),
        ladder=report.get("ladder"),
        ladder_title=TITLE,
        ladder_notes=list(ladder_notes(report["ladder"])) if "ladder" in report else [],
        trainings=[(training, figures.training_plots(training)) for training in extras.trainings],
        projection_plot=None if isinstance(extras.projection, str) else figures.projection_plot(extras.projection),
        item_mark=figures.ITEM_MARK,
        word_mark=figures.WORD_MARK,
        word_table=WORD_TABLE,
        tuning={name: _tried(tried) for name, tried in report["tuning"].items() if tried},
        recipe=yaml.safe_dump(dict(extras.recipe), sort_keys=False, allow_unicode=True, width=100),
    )


def main_table(report: Mapping[str, Any]) -> dict[str, list[Figure]]:
    """A row of figures for each model."""
    models = report["models"]
    return {
        name: [
            _figure(
                value,
                max(row[metric] for row in models.values()),
                report["intervals"].get(name, {}).get(metric),
                report["by_seed"].get(name, {}).get(metric, []),
            )
            for metric, value in values.items()
        ]
        for name, values in models.items()
    }


def _figure(value: float, best: float, interval: Sequence[float] | None, seeds: Sequence[float]) -> Figure:
    return Figure(
        value=f"{value:.4f}",
        best=value == best,
        half=f"{(interval[1] - interval[0]) / 2:.4f}" if interval else "",
        interval=f"{interval[0]:.4f} to {interval[1]:.4f}" if interval else "",
        spread=f"{statistics.stdev(seeds):.4f}" if len(set(seeds)) > 1 else "",
    )


def comparison_in_words(comparison: Mapping[str, Any] | None, described: str = "") -> tuple[str, str]:
    """A paired test as sentences, what was found and how sure it is; empty without one.

    Args:
        described: what is to be said of the row compared with.
    """
    if comparison is None:
        return "", ""
    difference, p = comparison["difference"], comparison["p"]
    metric = metric_name(comparison["metric"])
    side = "above" if difference > 0 else "below"
    outcome = (
        f"{metric} of {comparison['model']} is {abs(difference):.4f} {side} that of "
        f"{comparison['against']}{described} (p = {p:.2g})."
    )
    chance = f"a difference at least this large would come up with probability p = {p:.2g}"
    verdict = "tell the two apart" if p < SIGNIFICANT else "do not tell the two apart"
    return (
        outcome,
        f"Were the two equally good, {chance} (paired test over users, random sign flips): "
        f"the users {verdict} at the 5% level.",
    )


def curve_cutoffs(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> list[int]:
    """The list lengths the table of the curves shows: evenly spaced, the last one among them."""
    longest = max((len(values) for row in curves.values() for values in row.values()), default=0)
    every = -(-longest // MOST_CURVE_COLUMNS) or 1
    return sorted({1, longest, *range(every, longest + 1, every)}) if longest else []


def settings_in_words(settings: Mapping[str, Any]) -> str:
    """`regularization 100, layers 2`."""
    texts = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in settings.items()
    }
    return ", ".join(f"{name} {text}" for name, text in texts.items()) or "none"


def _tried(tried: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[tuple[str, float]]]]:
    """Settings in words and what they reached, the best first."""
    rows = []
    for each in tried:
        reached = [(metric, value) for metric, value in each.items() if metric != "settings"]
        rows.append((settings_in_words(each["settings"]), reached))
    return sorted(rows, key=lambda row: -row[1][0][1] if row[1] else 0.0)[:MOST_TRIED]


def _slice_metrics(slices: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(m for each in slices.values() for row in each["models"].values() for m in row))


def _template() -> Any:
    environment = Environment(
        loader=PackageLoader("glta_cli.evaluation.report", "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Every text of the page: what the terminal cannot show, HTML and XML cannot hold.
        finalize=lambda value: printable(value) if type(value) is str and "\n" not in value else value,
    )
    environment.filters |= {
        "metric": metric_name,
        "seconds": shown_seconds,
        "short": short,
        "settings": settings_in_words,
        "figure": lambda value: f"{value:.4f}",
        "look": _look,
        "dot": lambda mark: swatch(mark, line=False),
    }
    return environment.get_template("page.html")


def _look(mark: Mark) -> str:
    """The classes of a table row."""
    return f"{mark.colour} own" if mark.own else mark.colour
