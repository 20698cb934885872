"""Several draws of one split: the same rows on each, and their means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from glta_cli.core.errors import InputError
from glta_cli.data.growth import same_source
from glta_cli.data.prepared import INTERACTIONS_FILE, ITEMS_FILE, USERS_FILE, PreparedDataset
from glta_cli.evaluation.evaluate import evaluate_run
from glta_cli.evaluation.rows import Row
from glta_cli.recipe.schema import EvaluateSettings
from glta_cli.stages.pipeline import Pipeline

SPLITS_THAT_DRAW = "leave it out, or set dataset.split.strategy to ratio, cold-items or cold-users"
KEPT = ("users", "left_out", "models", "comparison", "comparisons", "tuning", "cold_start")


def drawn_again(pipeline: Pipeline, settings: EvaluateSettings) -> list[Pipeline]:
    """The run on the other draws `evaluate.draws` asks for, prepared: its split from the next seeds.

    They are no runs of the workspace, and no logger is told.

    Raises:
        InputError: the split draws nothing, as a given one that lacks no part, or its source is not there any more, or
            another by now.
    """
    recipe = pipeline.recipe
    split = recipe.dataset.split
    if settings.draws > 1 and not split.drawn:
        raise InputError(
            f"the split '{split.strategy}' draws nothing: it is the same from every seed",
            location="evaluate.draws",
            hint=SPLITS_THAT_DRAW,
        )
    found = []
    for seed in range(split.seed + 1, split.seed + settings.draws):
        dataset = recipe.dataset.model_copy(update={"split": split.model_copy(update={"seed": seed})})
        changed = recipe.model_copy(update={"dataset": dataset, "loggers": {}})
        other = Pipeline(pipeline.name, changed, pipeline.workspace, device=pipeline.device)
        other.named_after = (*pipeline.named_after, f"draw {seed}")
        other.recorded, other.source = False, pipeline.source
        # Before anything is trained: a source that is gone is told now.
        _require_another(pipeline.prepared(), other.prepared())
        found.append(other)
    return found


def _require_another(drawn: PreparedDataset, again: PreparedDataset) -> None:
    """Raise `InputError` where the draws are no draws of one dataset, or one and the same, counted for several."""
    if not same_source(drawn, again):
        raise InputError(
            "the source says something else by now than what the run was trained on: draws would be of two datasets",
            location="evaluate.draws",
            hint="--refresh reads the source again for all of them, and trains what depends on it",
        )
    outputs = [each.artefact.manifest["outputs"] for each in (drawn, again)]
    if all(outputs[0].get(name) == outputs[1].get(name) for name in (INTERACTIONS_FILE, USERS_FILE, ITEMS_FILE)):
        raise InputError(
            f"the split '{drawn.split_settings.strategy}' draws nothing from this dataset, which is divided already",
            location="evaluate.draws",
            hint=SPLITS_THAT_DRAW,
        )


def evaluate_draws(
    pipeline: Pipeline, others: Sequence[Pipeline], rows: Sequence[Row], settings: EvaluateSettings
) -> dict[str, Any]:
    """The report on the run's own draw and, where there are others, what each came to and their means.

    Users with something to find, and what is to be found, differ between draws: tests and intervals are of each.

    Returns:
        What `evaluate_run` does of the run's own draw and, of several, `draws`: [{"seed", "users", "models",
        "comparison", "cold_start", ...}], and `mean_over_draws`: {"models", "cold_start": {part: {row: {metric}}}}, of
        the rows and parts that all draws have.
    """
    reports = [evaluate_run(each, rows, settings) for each in (pipeline, *others)]
    if not others:
        return reports[0]
    seeds = [each.recipe.dataset.split.seed for each in (pipeline, *others)]
    # A part may be empty in a draw, such as that of the others where few are left.
    parts = reports[0]["cold_start"]["parts"] if reports[0]["cold_start"] else {}
    parts = [part for part in parts if all(part in report["cold_start"]["parts"] for report in reports)]
    return {
        **reports[0],
        "draws": [
            {"seed": seed, **{key: report[key] for key in KEPT}} for seed, report in zip(seeds, reports, strict=True)
        ],
        "mean_over_draws": {
            "models": _mean([report["models"] for report in reports]),
            "cold_start": {
                part: _mean([report["cold_start"]["parts"][part]["models"] for report in reports]) for part in parts
            },
        },
    }


def _mean(models: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Each row's figures, means over draws; of rows in all of them, for a linear term may be another one in each."""
    return {
        row: {metric: float(np.mean([each[row][metric] for each in models])) for metric in figures}
        for row, figures in models[0].items()
        if all(row in each for each in models)
    }
