"""Evaluation on the test split: baselines, the model and its parts, by full ranking."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.table import Table

from glta_cli.data.interactions import Interactions
from glta_cli.errors import GltaError
from glta_cli.evaluation.baselines import LANGUAGE_ROW, MODEL_ROW, MadeBaseline, fitted_scorer, made_baselines
from glta_cli.evaluation.metrics import bootstrap_intervals, ranking_metrics
from glta_cli.evaluation.ranking import Scorer, rank_users
from glta_cli.evaluation.significance import compare_with_best
from glta_cli.recipe import EvaluateSettings
from glta_cli.serving.index import Index
from glta_cli.terminal import nothing_on_stdout, progress_bar

if TYPE_CHECKING:
    from glta_cli.pipeline import Pipeline

SHOWN_METRICS = ("ndcg", "recall", "precision")


@nothing_on_stdout()
def evaluate_run(pipeline: Pipeline, baselines: Sequence[MadeBaseline] | None = None) -> dict[str, Any]:
    """Rank the catalogue for every user with a test item; training and validation items are masked.

    Args:
        baselines: in the order of their rows; None makes the recipe's.

    Returns:
        `{"dataset", "split", "run", "users", "left_out", "models": {name: {"ndcg@10", ...}},
        "intervals": {name: {"ndcg@10": [low, high]}}, "comparison": {"model", "against", "metric", "difference",
        "p"}}`; `left_out` counts users without a test item.

    Raises:
        InputError: a baseline of the recipe is unknown or wrongly set, or called like a row of the model.
        GltaError: a baseline cannot be made or breaks its promises; nobody has a test item.
    """
    recipe = pipeline.recipe
    compared = made_baselines(recipe.evaluate.baselines, recipe) if baselines is None else baselines
    index = Index(pipeline.ensure("index"))
    prepared = pipeline.prepared()
    train, validation, test = prepared.split("train"), prepared.split("valid"), prepared.split("test")
    models = {made.name: fitted_scorer(made, pipeline) for made in compared}
    models |= {
        index.encoder: index.graph_scorer(),
        LANGUAGE_ROW: index.language_scorer(train, validation),
    }
    if index.fused:
        models[MODEL_ROW] = index.scorer(train, validation)
    else:
        models[MODEL_ROW] = models.pop(LANGUAGE_ROW)
    settings = recipe.evaluate
    values = evaluate_models(models, test, settings, train, validation)
    # The shares stay out: `test` is the number of test interactions.
    split = recipe.dataset.split.model_dump(mode="json", include={"strategy", "seed"})
    return {
        "dataset": prepared.name,
        "split": {**split, **prepared.summary()["split"]},
        "run": pipeline.name,
        "users": int((test.counts > 0).sum()),
        "left_out": int((test.counts == 0).sum()),
        "models": {name: {metric: float(v.mean()) for metric, v in row.items()} for name, row in values.items()},
        "intervals": model_intervals(values, settings.bootstrap, recipe.seed),
        "comparison": model_comparison(values, settings, recipe.seed),
    }


def model_comparison(
    values: dict[str, dict[str, NDArray[np.float64]]], settings: EvaluateSettings, seed: int
) -> dict[str, Any] | None:
    """The model against the best of the baselines and the encoder alone; None where the recipe leaves it out."""
    if not settings.permutations:
        return None
    others = [name for name in values if name not in (MODEL_ROW, LANGUAGE_ROW)]
    cutoff = 10 if 10 in settings.cutoffs else max(settings.cutoffs)
    found = compare_with_best(values, MODEL_ROW, others, f"ndcg@{cutoff}", settings.permutations, seed)
    return asdict(found)


def model_intervals(
    values: dict[str, dict[str, NDArray[np.float64]]], resamples: int, seed: int
) -> dict[str, dict[str, tuple[float, float]]]:
    """The interval of every metric of every model, from the same resampled users; none without resamples."""
    intervals: dict[str, dict[str, tuple[float, float]]] = {name: {} for name in values}
    if resamples:
        columns = {(name, metric): each for name, row in values.items() for metric, each in row.items()}
        for (name, metric), interval in bootstrap_intervals(columns, resamples, seed).items():
            intervals[name][metric] = interval
    return intervals


def evaluate_models(
    models: dict[str, Scorer], test: Interactions, settings: EvaluateSettings, *seen: Interactions
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """Every metric of every model, one value for each user with a test item."""
    users = np.flatnonzero(test.counts)
    if not len(users):
        raise GltaError("no user has a test item", hint="prepare with a larger test share")
    values = {}
    with progress_bar(len(models), "evaluate", "models") as bar:
        for name, score in models.items():
            ranked = rank_users(score, users, max(settings.cutoffs), *seen)
            values[name] = ranking_metrics(ranked, users, test, settings.cutoffs)
            bar.update(1)
    return values


def _compared(comparison: dict[str, Any] | None) -> Iterator[str]:
    if comparison is not None:
        metric = comparison["metric"].replace("ndcg", "NDCG")
        difference, p = comparison["difference"], comparison["p"]
        yield (
            f"{comparison['model']} less {comparison['against']}, {metric}: {difference:+.4f}, "
            f"p = {p:.2g} (paired sign flips over users)"
        )


def report_table(report: dict[str, Any]) -> Table:
    """The report as a rich table: one row a model, the best of each column bold."""
    names = list(next(iter(report["models"].values())))
    shown = [name for name in names if name.split("@")[0] in SHOWN_METRICS and not name.endswith("@5")]
    table = Table(
        title=f"{report['dataset']}, run {report['run']}: full ranking for {report['users']:,} test users",
        caption="\n".join(["± half of the 95% bootstrap interval over users", *_compared(report["comparison"])]),
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    # Names broken at the @ and intervals on a line of their own: all of it fits into 80 columns.
    table.add_column("model", no_wrap=True)
    for name in shown:
        table.add_column(name.replace("@", "\n@"), justify="right", no_wrap=True)
    for model, metrics in report["models"].items():
        cells = []
        for name in shown:
            best = max(row[name] for row in report["models"].values())
            interval = report["intervals"][model].get(name)
            width = f"\n±{(interval[1] - interval[0]) / 2:.4f}" if interval else ""
            text = f"{metrics[name]:.4f}{width}"
            cells.append(f"[bold]{text}[/bold]" if metrics[name] == best else text)
        table.add_row(model, *cells)
    return table
