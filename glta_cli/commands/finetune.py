"""`glta finetune`: stage 3."""

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
from glta_cli.commands.stage import run_stage


def finetune(
    recipe: RecipeOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    data_dir: DataDirOption = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
    dry_run: DryRunOption = False,
    profile: ProfileOption = False,
    as_json: JsonOption = False,
) -> None:
    """Stage 3: align users and train the item logits.

    Each prompt holds a user token, item tokens and the interests the language model named; the target is what
    else the user took. With `backbone.lora` in the recipe, low-rank adapters of the language model learn too.

    Example: glta finetune --recipe llama7b-lora --dry-run
    """
    pipeline = open_pipeline(recipe, run, overrides, data_dir, seed, device, profile=profile)
    run_stage("finetune", pipeline, data_dir=data_dir, dry_run=dry_run, as_json=as_json, then="evaluate")
