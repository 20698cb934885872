"""A published table measured again: rows of the same names beside the published ones, and what differs."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.markup import escape
from rich.table import Table

from glta_cli.core.counts import counted
from glta_cli.core.errors import InputError
from glta_cli.evaluation.baselines import MODEL_ROW
from glta_cli.evaluation.published import ABLATIONS, LANGUAGE_MODEL, METRICS, PublishedTable
from glta_cli.evaluation.tables import chosen_lines, tuned_lines
from glta_cli.plugin.settings import BackboneSettings
from glta_cli.recipe.schema import EvaluateSettings, Recipe
from glta_cli.recipe.variants import variant_of
from glta_cli.workspace.details import scalars

if TYPE_CHECKING:
    from glta_cli.stages.pipeline import Pipeline

# Beside the paper's rows, always: what needs no graph and no language model.
SIMPLE = ("popularity", "ease")


# Devices that compute with packed weights.
PACKS_ON = ("cuda", "xpu", "cpu")

# ------------------------------------------------------------------------------------------ what is measured


def require_same_data(table: PublishedTable, pipeline: Pipeline) -> None:
    """Raise `InputError` where the recipe is about another dataset than the table."""
    name = pipeline.recipe.dataset.name
    if name != table.dataset:
        raise InputError(
            f"the recipe of run {pipeline.name} is about {name}, the published table about {table.dataset}",
            location="dataset.name",
            hint=f"--recipe {table.without_gpu or table.recipe} is about the table's",
        )


def require_device(table: PublishedTable, pipeline: Pipeline) -> None:
    """Raise `InputError` where the language model cannot be loaded here, before encoders are trained for hours."""
    device = _packing_device(pipeline)
    if device not in (None, *PACKS_ON):
        raise InputError(
            f"{pipeline.recipe.backbone.quantization} needs a CUDA GPU or a processor, not {device}",
            location="backbone.quantization",
            hint=unpacked_instead(table),
        )


def packed_on_processor(pipeline: Pipeline) -> bool:
    """Whether a processor is to compute with packed weights, which it unpacks again for every batch."""
    return _packing_device(pipeline) == "cpu"


def unpacked_instead(table: PublishedTable) -> str:
    """What takes the place of the paper's packed weights."""
    copied = f"glta recipes copy {table.recipe} is a start for a recipe that does without"
    return f"--recipe {table.without_gpu} does without" if table.without_gpu else copied


def _packing_device(pipeline: Pipeline) -> str | None:
    """The type of the device that computes with packed weights; None where no weights are packed."""
    from glta_cli.training.loop import pick_device

    packs = pipeline.recipe.finetune.enabled and pipeline.recipe.backbone.quantization != "none"
    return pick_device(pipeline.device).type if packs else None


def all_cutoffs(settings: EvaluateSettings) -> tuple[int, ...]:
    """The settings' own cutoffs and the table's, ascending."""
    return tuple(sorted({*settings.cutoffs, *(int(metric.partition("@")[2]) for metric in METRICS)}))


def compared_with(table: PublishedTable, recipe: Recipe) -> list[str]:
    """The rows to measure beside the recipe's own, in the table's order, the simple ones first.

    An ablation of what the recipe leaves out already is not trained again.
    """
    own = {recipe.graph.encoder, MODEL_ROW}
    profile, prediction = recipe.interests.profile, recipe.interests.prediction
    left_out = set() if profile and prediction else {"wo-pf", "wo-pd"}
    if not (profile or prediction):
        left_out.add("wo-pf-pd")
    if not recipe.finetune.enabled:
        left_out = set(ABLATIONS.values())
    names = [each.row for each in table.rows if each.row not in own | left_out]
    return [*SIMPLE, *names]


# ------------------------------------------------------------------------------------------- what differs


def differences(table: PublishedTable, pipeline: Pipeline) -> list[str]:
    """What a reader has to know before comparing the two, one sentence each."""
    recipe = pipeline.recipe
    return [
        *_data(table, pipeline),
        *_encoders(recipe),
        *_trained_otherwise(table, recipe),
        *(_model(recipe) if recipe.finetune.enabled else ["GLTA: not measured, the recipe stops at the graph encoder"]),
        _hardware(pipeline),
    ]


def _data(table: PublishedTable, pipeline: Pipeline) -> Iterator[str]:
    prepared, split = pipeline.prepared(), pipeline.recipe.dataset.split
    sizes = [prepared.summary()["split"][name] for name in ("train", "valid", "test")]
    shares = f" of {split.validation:.0%} validation, {split.test:.0%} test" if split.strategy == "ratio" else ""
    counts = "{:,} training, {:,} validation, {:,} test interactions".format(*sizes)
    yield f"split: {split.strategy}{shares}, seed {split.seed}: {counts}; the paper states none"
    ours = prepared.user_count, prepared.item_count, sum(sizes)
    theirs = table.users, table.items, table.interactions
    compared = "as in the paper" if ours == theirs else "the paper has {:,}, {:,} and {:,}".format(*theirs)
    yield f"data: {', '.join(map(counted, ours, ('user', 'item', 'interaction')))}; {compared}"


def _encoders(recipe: Recipe) -> Iterator[str]:
    graph, training = recipe.graph, recipe.graph.training
    loss = f"{graph.loss} loss, at most {training.epochs:,} epochs, batches of {training.batch_size:,}"
    yield (
        f"graph encoders: {loss}, learning rate {training.learning_rate:g}, epoch chosen by validation NDCG@10; "
        "the paper leaves loss, dimension and layers open"
    )
    if graph.encoder != "lightgcn":
        yield f"encoder below GLTA: {graph.encoder}; the paper's is LightGCN"
    if graph.alignment_holdout and recipe.finetune.enabled:
        hidden = f"{graph.alignment_holdout:.0%} of the training items"
        yield f"graph of the fine-tuning: without {hidden}, its targets; the paper's is the whole training graph"


def _trained_otherwise(table: PublishedTable, recipe: Recipe) -> Iterator[str]:
    """Graph encoders of the table that the recipe trains in a way of their own, as variants."""
    labels = {row.row: row.label for row in table.rows}
    common = dict(scalars(recipe.graph.model_dump(mode="json", exclude={"encoder", "options"})))
    for name in compared_with(table, recipe):
        changes = recipe.evaluate.variants.get(name, {}).get("graph")
        if changes is None or name not in labels:
            continue
        graph = variant_of(recipe, {"graph": changes}).graph
        own = dict(scalars(graph.model_dump(mode="json", exclude={"encoder", "options"})))
        settings = ", ".join(f"{key} {value}" for key, value in own.items() if value != common.get(key))
        if settings:
            yield f"{labels[name]}: {settings}"


def _model(recipe: Recipe) -> Iterator[str]:
    yield f"language model: {_language_model(recipe.backbone)}; the paper's is {LANGUAGE_MODEL}"
    if recipe.backbone.lora is not None:
        yield "low-rank adapters: trained; the paper's language model is frozen"
    written = [name for name in ("profile", "prediction") if getattr(recipe.interests, name)]
    words = f"{' and '.join(written)}, {recipe.interests.words} words each" if written else "none"
    missing = "" if len(written) == 2 else "; the paper's GLTA has profile and prediction"
    yield f"generated words: {words}{missing}"
    finetune = recipe.finetune
    ours = [
        (finetune.head != "linear", f"{finetune.head} head", "a linear layer"),
        (finetune.loss != "positions", f"loss at the {finetune.loss} position", "cross-entropy at the first k"),
        (finetune.readout != "positions", f"readout {finetune.readout}", "the first k rows"),
        (finetune.fusion, "scores fused with the encoder's", "no fusion"),
        (not recipe.align.enabled, "no item-text alignment", "item-text alignment"),
        (not finetune.user_token, "user ids in words", "user tokens"),
        (finetune.item_tokens != "graph", "item tokens of graph and text", "item tokens of the graph"),
        (finetune.targets == "latest", "the latest items as targets", "items at random as targets"),
        (bool(finetune.popularity_adjustment), "logits adjusted by popularity", "plain logits"),
    ]
    other = [(here, there) for differs, here, there in ours if differs]
    if other:
        here, there = (", ".join(each) for each in zip(*other, strict=True))
        yield f"GLTA: {here}; the paper has {there}"
    controls = {
        "texts dealt out at random": recipe.text.shuffled,
        "texts read with random weights": recipe.text.weights == "random",
        "user tokens of other users": finetune.shuffled_users,
    }
    yield from (f"control: {name}" for name, on in controls.items() if on)


def _language_model(backbone: BackboneSettings) -> str:
    # The last part alone: it may be a folder of this machine.
    name = str(backbone.options.get("model") or backbone.name).rstrip("/").rpartition("/")[2]
    depth = (
        "all layers" if backbone.layers is None else f"cut after layer {backbone.layers} (whole where it writes words)"
    )
    weights = "its own weights" if backbone.weights == "pretrained" else f"{backbone.weights} weights"
    # Of how the weights were stored before they were loaded a recipe says nothing.
    quantised = "" if backbone.quantization == "none" else f", loaded in {backbone.quantization}"
    return f"{name}, {depth}, {weights}{quantised}, dtype {backbone.dtype}"


def _hardware(pipeline: Pipeline) -> str:
    import torch

    from glta_cli.training.loop import pick_device

    device = pick_device(pipeline.device)
    if device.type == "cuda":
        return f"hardware of this evaluation: {torch.cuda.get_device_name(device)}"
    machine = f"{platform.machine()}, cores {os.cpu_count()}, threads {torch.get_num_threads()}"
    return f"hardware of this evaluation: {device.type}, {machine}"


# ------------------------------------------------------------------------------------------------ the table


def reproduction_table(table: PublishedTable, report: Mapping[str, Any], notes: Sequence[str]) -> Table:
    """One row a model: measured figures, the best of each column bold, and the published ones dim below them.

    What is in the published table stands in its order, after what is not.
    """
    published = {each.row: each for each in table.rows}
    seeds = report["seeds"]
    width = ", ± half of the 95% bootstrap interval over users" if any(report["intervals"].values()) else ""
    about = [
        f"upper line: measured{width}; lower line: as published",
        f"{counted(report['users'], 'test user')}, "
        + (f"means of {len(seeds)} seeds, {seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"seed {seeds[0]}"),
        *notes,
        *tuned_lines(report),
        *chosen_lines(report),
    ]
    shown = Table(
        title=escape(f"{report['dataset']}, run {report['run']}: measured and published"),
        caption="\n".join(map(escape, about)),
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    shown.add_column("model", no_wrap=True)
    for metric in METRICS:
        shown.add_column(metric.replace("ndcg", "NDCG"), no_wrap=True)
    models = report["models"]
    for name in [*(each for each in models if each not in published), *(each for each in published if each in models)]:
        row = published.get(name)
        theirs = {} if row is None else row.values
        cells = [_cell(report, name, metric, models[name][metric], theirs.get(metric)) for metric in METRICS]
        shown.add_row(escape(name if row is None else row.label) + ("\n[dim]published[/dim]" if row else ""), *cells)
    return shown


def _cell(report: Mapping[str, Any], name: str, metric: str, value: float, published: float | None) -> str:
    interval = report["intervals"][name].get(metric)
    text = f"{value:.4f}" + (f" ±{(interval[1] - interval[0]) / 2:.4f}" if interval else "")
    if value == max(row[metric] for row in report["models"].values()):
        text = f"[bold]{text}[/bold]"
    return text if published is None else f"{text}\n[dim]{published:.4f}[/dim]"
