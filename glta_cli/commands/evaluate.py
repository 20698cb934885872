"""`glta evaluate`: the figures of a run, measured once on the test split."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from glta_cli.commands.options import (
    DataDirOption,
    DeviceOption,
    JsonOption,
    ProfileOption,
    RecipeOption,
    RunOption,
    SeedOption,
    SetOption,
    open_pipeline,
)
from glta_cli.commands.stage import say_next
from glta_cli.terminal import show_json, show_table

if TYPE_CHECKING:
    from glta_cli.data.prepared import PreparedDataset

USUAL_USER = "42"


def evaluate(
    recipe: RecipeOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    data_dir: DataDirOption = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
    profile: ProfileOption = False,
    as_json: JsonOption = False,
) -> None:
    """Rank the catalogue for every test user; show metrics.

    Popularity, the graph encoder alone, the language model's own ranking and the fused ranking stand side by
    side, on one split. Without --recipe or --run it takes the latest run.

    Example: glta evaluate --recipe movielens-1m
    """
    pipeline = open_pipeline(recipe, run, overrides, data_dir, seed, device, profile=profile, prefer_latest=True)

    from glta_cli.evaluation.evaluate import evaluate_run, report_table

    pipeline.ensure("index")
    with pipeline.profiled("evaluate"):
        report = evaluate_run(pipeline)
    if as_json:
        show_json(report)
    else:
        show_table(report_table(report))
    say_next(f"recommend --user {shlex.quote(some_user(pipeline.prepared()))}", pipeline.name, data_dir)


def some_user(prepared: PreparedDataset) -> str:
    """A user the dataset has: the one of every other example, else the first."""
    ids = prepared.user_ids
    return USUAL_USER if USUAL_USER in ids else ids[0]
