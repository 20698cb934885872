"""The plots of a report, from its dictionary and extras."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from glta_cli.evaluation.report.marks import PLAIN, Mark
from glta_cli.evaluation.report.plots import Bar, Line, Point, bar_plot, cut, line_plot, scatter_plot
from glta_cli.evaluation.report.projection import Projection
from glta_cli.evaluation.report.trainings import Training

METRIC_NAMES = {
    "ndcg": "NDCG",
    "recall": "Recall",
    "precision": "Precision",
    "hit": "Hit rate",
    "mrr": "MRR",
    "map": "MAP",
}
LEAST_SECONDS = 1e-3
"""A logarithm needs something to take: what is fitted faster counts as a millisecond."""

TITLE_LETTERS, NAME_LETTERS = 100, 22
LABELLED_ITEMS, LABELLED_WORDS = 5, 8
ITEM_MARK, WORD_MARK = Mark("own-0", "", "circle", own=True), Mark("other-4", "", "square", own=False)


def metric_name(metric: str) -> str:
    """`ndcg@10` as a reader knows it."""
    name, _, cutoff = metric.partition("@")
    shown = METRIC_NAMES.get(name, name.replace("_", " "))
    return f"{shown}@{cutoff}" if cutoff else shown


def main_metric(report: Mapping[str, Any]) -> str:
    """NDCG at 10, or at the longest list there is."""
    cutoffs = [int(name.split("@")[1]) for name in next(iter(report["models"].values())) if name.startswith("ndcg@")]
    return f"ndcg@{10 if 10 in cutoffs else max(cutoffs)}"


def short(title: str) -> str:
    """A title no longer than a line or two."""
    return cut(title, TITLE_LETTERS)


def quality_plot(report: Mapping[str, Any], marks: Mapping[str, Mark]) -> Markup:
    """The main metric of every model, with its interval and the value of every seed."""
    metric = main_metric(report)
    bars = []
    for name, values in report["models"].items():
        interval = report["intervals"].get(name, {}).get(metric)
        seeds = report["by_seed"].get(name, {}).get(metric, [])
        said = f"{name}: {metric_name(metric)} {values[metric]:.4f}"
        if interval is not None:
            said += f"\n95% interval {interval[0]:.4f} to {interval[1]:.4f}"
        if len(seeds) > 1:
            said += "\nseeds " + ", ".join(f"{value:.4f}" for value in seeds)
        bars.append(
            Bar(name, values[metric], said, marks[name], interval and tuple(interval), seeds if len(seeds) > 1 else ())
        )
    return bar_plot(
        bars, title=f"{metric_name(metric)} of every model", x_label=f"{metric_name(metric)}, mean over users"
    )


def curve_plots(report: Mapping[str, Any], marks: Mapping[str, Mark]) -> list[Markup]:
    """NDCG, recall and precision by the length of the list, one plot each."""
    kinds = list(dict.fromkeys(kind for curves in report["curves"].values() for kind in curves))
    plots = []
    for kind in kinds:
        shown = METRIC_NAMES.get(kind, kind)
        lines = []
        for name, curves in report["curves"].items():
            values = curves.get(kind, [])
            lines.append(
                Line(
                    points=[(float(k), value) for k, value in enumerate(values, start=1)],
                    titles=[f"{name}: {shown}@{k} {value:.4f}" for k, value in enumerate(values, start=1)],
                    mark=marks[name],
                    label=name if marks[name].own else "",
                )
            )
        plots.append(
            line_plot(lines, title=f"{shown} by list length", x_label="K, items in the list", y_label=f"{shown}@K")
        )
    return plots


def cost_plot(report: Mapping[str, Any], marks: Mapping[str, Mark]) -> Markup:
    """Quality over the seconds it takes to fit each model."""
    metric = main_metric(report)
    points = []
    for name, cost in report["costs"].items():
        seconds, quality = cost["fit_seconds"], report["models"][name][metric]
        said = f"{name}: {metric_name(metric)} {quality:.4f}, fitted in {shown_seconds(seconds)}"
        points.append(Point(max(seconds, LEAST_SECONDS), quality, said, marks[name], name))
    return scatter_plot(
        points,
        title=f"{metric_name(metric)} over the seconds to fit",
        x_label="seconds to fit, logarithmic",
        y_label=metric_name(metric),
        logarithmic_x=True,
    )


def shown_seconds(seconds: float) -> str:
    if seconds < LEAST_SECONDS:
        return "< 1 ms"
    return f"{seconds:,.0f} s" if seconds >= 100 else f"{seconds:.3g} s"


def slice_plots(report: Mapping[str, Any], marks: Mapping[str, Mark]) -> list[tuple[str, dict[str, Any], Markup]]:
    """Every slice with its figures and a plot of its first metric, each on a scale of its own."""
    plots = []
    for name, each in report["slices"].items():
        metric = next(iter(next(iter(each["models"].values()))))
        bars = [
            Bar(model, values[metric], f"{model}, {name}: {metric_name(metric)} {values[metric]:.4f}", marks[model])
            for model, values in each["models"].items()
        ]
        plots.append((name, each, bar_plot(bars, title=f"{metric_name(metric)}, {name}", x_label=metric_name(metric))))
    return plots


def training_plots(training: Training) -> list[Markup]:
    """Loss and validation metric of one training."""
    kept = training.best_epoch
    epochs = [epoch for epoch, _ in (*training.loss, *training.validation)]
    plots = []
    for shown, points in (("loss", training.loss), (metric_name(training.metric), training.validation)):
        if points:
            titles = [f"epoch {epoch:g}: {shown} {value:.5g}" for epoch, value in points]
            plots.append(
                line_plot(
                    [Line(points, titles, PLAIN if shown == "loss" else Mark("own-2", "", "circle", own=True))],
                    title=f"{shown} by epoch, {training.name}",
                    x_label="epoch" if kept is None else f"epoch; kept: {kept}",
                    y_label="training loss" if shown == "loss" else f"validation {shown}",
                    height=180,
                    x_range=epochs,
                    chosen=kept,
                )
            )
    return plots


def projection_plot(projection: Projection) -> Markup:
    """Item tokens and words in their main plane."""
    near = Counter(word for item in projection.items for word in item.nearest)
    labelled = {word for word, _ in near.most_common(LABELLED_WORDS)}
    words = [
        Point(word.x, word.y, f"word: {word.word}", WORD_MARK, word.word if word.word in labelled else "")
        for word in projection.words
    ]
    items = [
        Point(
            item.x,
            item.y,
            f"item: {short(item.title)}\nnearest words: {', '.join(item.nearest)}",
            ITEM_MARK,
            cut(item.title, NAME_LETTERS) if number < LABELLED_ITEMS else "",
        )
        for number, item in enumerate(projection.items)
    ]
    first, second = projection.shares
    return scatter_plot(
        words + items,
        title="item tokens and word tokens",
        x_label=f"first component, {first:.1%} of the variance",
        y_label=f"second component, {second:.1%} of the variance",
        height=340,
        radius=2.6,
    )
