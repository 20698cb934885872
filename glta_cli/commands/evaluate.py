"""`glta evaluate`: the figures of a run, measured once on the test split."""

from __future__ import annotations

from glta_cli.commands.options import (
    DataDirOption,
    DeviceOption,
    JsonOption,
    RecipeOption,
    RunOption,
    SeedOption,
    SetOption,
    open_pipeline,
)
from glta_cli.commands.stage import say_next
from glta_cli.terminal import show_json, show_table


def evaluate(
    recipe: RecipeOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    data_dir: DataDirOption = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rank the catalogue for every test user; show metrics.

    Popularity, the graph encoder alone, the language model's own ranking and the fused ranking stand side by
    side, on one split. Without --recipe or --run it takes the latest run.

    Example: glta evaluate --recipe movielens-1m
    """
    pipeline = open_pipeline(recipe, run, overrides, data_dir, seed, device, prefer_latest=True)

    from glta_cli.evaluation.evaluate import evaluate_run, report_table

    report = evaluate_run(pipeline)
    if as_json:
        show_json(report)
    else:
        show_table(report_table(report))
    say_next("recommend --user 42", pipeline.name, data_dir)
