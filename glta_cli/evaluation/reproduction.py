"""A published table measured again: rows of the same names beside the published ones, and what differs."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich import box
from rich.markup import escape
from rich.table import Table

from glta_cli.evaluation.published import LANGUAGE_MODEL, METRICS, PublishedTable
from glta_cli.recipe import Recipe

if TYPE_CHECKING:
    from glta_cli.pipeline import Pipeline

# Beside the paper's rows, always: what needs no graph and no language model.
SIMPLE = ("popularity", "ease")


def compared_with(table: PublishedTable, recipe: Recipe) -> list[str]:
    """The rows to measure beside the recipe's own, in the table's order, the simple ones first.

    An ablation of what the recipe leaves out already is not trained again.
    """
    own = {recipe.graph.encoder, "glta"}
    interests = recipe.interests
    left_out = {
        "wo-pf-pd": not (interests.profile or interests.prediction),
        "wo-pf": not (interests.profile and interests.prediction),
        "wo-pd": not (interests.profile and interests.prediction),
    }
    names = [each.row for each in table.rows if each.row not in own and not left_out.get(each.row, False)]
    return [*SIMPLE, *names]


def differences(table: PublishedTable, pipeline: Pipeline) -> list[str]:
    """What a reader has to know before comparing the two, one sentence each."""
    return list(_differences(table, pipeline))


def _differences(table: PublishedTable, pipeline: Pipeline) -> Iterator[str]:
    from glta_cli.training import pick_device

    recipe, prepared = pipeline.recipe, pipeline.prepared()
    split = recipe.dataset.split
    shares = f", {split.validation:.0%} validation and {split.test:.0%} test" if split.strategy == "ratio" else ""
    yield f"split: {split.strategy}{shares}, seed {split.seed}; the paper states none"
    train, validation, test = (prepared.summary()["split"][name] for name in ("train", "valid", "test"))
    counts = prepared.user_count, prepared.item_count, train + validation + test
    theirs = table.users, table.items, table.interactions
    ours = "{:,} users, {:,} items, {:,} interactions".format(*counts)
    yield f"data: {ours}; " + (
        "as in the paper" if counts == theirs else "the paper has {:,}, {:,}, {:,}".format(*theirs)
    )
    backbone = recipe.backbone
    named = str(backbone.options.get("model", backbone.name))
    depth = "" if backbone.layers is None else f", its first {backbone.layers} layers"
    weights = "" if backbone.weights == "pretrained" else f", {backbone.weights} weights"
    ours = f"{named}{depth}{weights}, {backbone.quantization} quantisation"
    yield f"language model: {ours}; the paper's is {LANGUAGE_MODEL}"
    left_out = [name for name in ("profile", "prediction") if not getattr(recipe.interests, name)]
    if left_out:
        yield f"left out: {' and '.join(left_out)}"
    graph = recipe.graph
    yield (
        f"graph encoders: {graph.loss}, at most {graph.training.epochs} epochs of batches of "
        f"{graph.training.batch_size:,}, selected by validation NDCG@10; the paper states no training settings"
    )
    device = pick_device(pipeline.device)
    yield f"hardware: {device.type}, {os.cpu_count()} processor cores, {platform.machine()}"


def reproduction_table(table: PublishedTable, report: dict[str, Any], notes: list[str]) -> Table:
    """Measured and published figures, one row a model; the best of each column bold."""
    published = {each.row: each for each in table.rows}
    about = [
        f"measured on {report['users']:,} test users, "
        + (f"mean of {len(report['seeds'])} seeds" if len(report["seeds"]) > 1 else f"seed {report['seeds'][0]}")
        + "; ± half of the 95% bootstrap interval over users",
        *notes,
    ]
    shown = Table(
        title=escape(f"{report['dataset']}, run {report['run']}: measured, and as published"),
        caption="\n".join(map(escape, about)),
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    shown.add_column("model", no_wrap=True)
    for metric in METRICS:
        shown.add_column(metric.replace("precision", "prec.").replace("@", "\n@"), justify="right", no_wrap=True)
    for metric in METRICS:
        head = metric.replace("precision", "prec.").replace("@", "\n@") + "\npublished"
        shown.add_column(head, justify="right", no_wrap=True)
    for name, metrics in report["models"].items():
        row = published.get(name)
        cells = [_cell(report, name, metric, metrics[metric]) for metric in METRICS]
        cells += [f"{row.values[metric]:.4f}" if row and metric in row.values else "" for metric in METRICS]
        shown.add_row(escape(row.label if row else name), *cells)
    return shown


def _cell(report: dict[str, Any], name: str, metric: str, value: float) -> str:
    interval = report["intervals"][name].get(metric)
    text = f"{value:.4f}" + (f"\n±{(interval[1] - interval[0]) / 2:.4f}" if interval else "")
    best = max(row[metric] for row in report["models"].values())
    return f"[bold]{text}[/bold]" if value == best else text
