"""`glta finetune`: stage 3."""

from __future__ import annotations

from typing import Annotated

import typer

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
from glta_cli.stages.lineage import SERVING


def finetune(
    recipe: RecipeOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    data_dir: DataDirOption = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
    processes: ProcessesOption = None,
    dry_run: DryRunOption = False,
    refit: Annotated[
        bool,
        typer.Option("--refit", help="Then train again on everything known, for the epochs selected, and serve that."),
    ] = False,
    profile: ProfileOption = False,
    as_json: JsonOption = False,
) -> None:
    """Stage 3: align users and train the item logits.

    Each prompt holds a user token, item tokens and the interests the language model named; the target is what
    else the user took. With `backbone.lora` in the recipe, low-rank adapters of the language model learn too.

    With --refit, or `finetune.refit` in the recipe, all stages that read interactions are trained a second time, on
    training, validation and test interactions, for as many epochs as were selected on validation. That is what `glta
    recommend` answers from; `glta evaluate` measures what was selected, and never sees it.

    Example: glta finetune --recipe llama7b-lora --dry-run
    """
    if refit:
        overrides = [*(overrides or []), "finetune.refit=true"]
    run_as_processes(None if dry_run else processes)
    pipeline = open_pipeline(recipe, run, overrides, data_dir, seed, device, profile=profile)
    stage = SERVING if pipeline.recipe.finetune.refit else "finetune"
    run_stage(
        stage,
        pipeline,
        data_dir=data_dir,
        dry_run=dry_run,
        as_json=as_json,
        then="evaluate",
        processes=processes,
        recipe=recipe,
        overrides=overrides,
    )
