"""`glta align`: stage 2."""

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


def align(
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
    """Stage 2: align item tokens with the language model.

    A linear projector learns to turn each item embedding into a token that the frozen language model reads as
    that item: it must match shuffled descriptions with item tokens.

    Example: glta align --recipe movielens-1m --set align.labels=item_order
    """
    run_as_processes(None if dry_run else processes)
    pipeline = open_pipeline(recipe, run, overrides, data_dir, seed, device, profile=profile)
    run_stage(
        "align",
        pipeline,
        data_dir=data_dir,
        dry_run=dry_run,
        as_json=as_json,
        then="finetune",
        processes=processes,
        recipe=recipe,
        overrides=overrides,
    )
