"""`glta pretrain-graph`: stage 1."""

from __future__ import annotations

from glta_cli.commands.options import (
    DataDirOption,
    DeviceOption,
    DryRunOption,
    JsonOption,
    ProfileOption,
    RecipeOption,
    RunOption,
    SeedOption,
    SetOption,
    open_pipeline,
)
from glta_cli.commands.processes import ProcessesOption, run_as_processes
from glta_cli.commands.stage import run_stage


def pretrain_graph(
    recipe: RecipeOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    data_dir: DataDirOption = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
    processes: ProcessesOption = None,
    dry_run: DryRunOption = False,
    profile: ProfileOption = False,
    as_json: JsonOption = False,
) -> None:
    """Stage 1: embed users and items by a graph encoder.

    The encoder (LightGCN unless the recipe says otherwise) is trained on the interaction graph and stopped by
    NDCG on the validation split.

    Example: glta pretrain-graph --recipe movielens-1m --set graph.loss=bpr
    """
    run_as_processes(None if dry_run else processes)
    pipeline = open_pipeline(recipe, run, overrides, data_dir, seed, device, profile=profile)
    then = "align" if pipeline.recipe.finetune.enabled else "evaluate"
    run_stage(
        "pretrain-graph",
        pipeline,
        data_dir=data_dir,
        dry_run=dry_run,
        as_json=as_json,
        then=then,
        processes=processes,
        recipe=recipe,
        overrides=overrides,
    )
