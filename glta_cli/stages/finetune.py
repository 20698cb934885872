"""Stage `finetune` (3): user tokens and item logits."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch

from glta_cli.core.counts import counted
from glta_cli.core.errors import InputError
from glta_cli.core.tensors import write_tensors
from glta_cli.core.terminal import say
from glta_cli.core.world import team
from glta_cli.data.prepared import PreparedDataset
from glta_cli.language.finetuning import Examples, FinetuningTask
from glta_cli.language.model import load_own_tensors, own_tensors
from glta_cli.language.prompt_lengths import longest_user_prompt
from glta_cli.recipe.schema import FinetuneSettings, Recipe
from glta_cli.stages.backbone import frozen_backbone_settings
from glta_cli.stages.context import MODEL, StageContext
from glta_cli.stages.stage import TIMING, ModelStage, details_of, trained
from glta_cli.stages.warm_start import earlier, start_model
from glta_cli.training.loop import train, trainable

CAME_LATER = ("item_tokens", "targets", "popularity_adjustment")
# What stage 3 starts from.
RANDOM, REGRESSION, EARLIER = "random", "regression", "earlier"


class Finetune(ModelStage):
    """Stage 3: the user projector, the head and, where the recipe says so, adapters."""

    name = "finetune"
    inputs = ("prepare", "pretrain-graph", "encode-items", "align", "describe-users")
    shared = True
    shortening = ("finetune.context_items", "interests.new_tokens", "finetune.positions")

    def needed(self, recipe: Recipe, prepared: PreparedDataset) -> bool:
        """Whether the recipe has it.

        Raises:
            InputError: the latest interactions are to be its targets, and the dataset has no times.
        """
        if recipe.finetune.enabled and recipe.finetune.targets == "latest" and prepared.newest is None:
            raise InputError(
                f"{prepared.name} has no times, by which finetune.targets=latest would tell what came last",
                hint="use finetune.targets=share, or name the column of times (table: "
                "--set dataset.options.timestamp=COLUMN)",
            )
        return recipe.finetune.enabled

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        # Readout and fusion are decided at inference, and a refit comes after it; the trained model is the same.
        # Where the rows of the head lie while it is trained decides nothing.
        elsewhere = dict.fromkeys(("enabled", "readout", "fusion", "refit", "shard_catalogue"), True)
        settings = trained(recipe.finetune, elsewhere | TIMING)
        for name in CAME_LATER:
            # What was published before there was a choice stays found.
            if settings[name] == FinetuneSettings.model_fields[name].default:
                del settings[name]
        lora = recipe.backbone.lora
        return {
            "finetune": settings,
            "backbone": frozen_backbone_settings(recipe) | {"lora": lora and lora.model_dump(mode="json")},
            "prompts": _stage_3_prompts(recipe),
            "seed": recipe.seed,
        }

    def longest_prompt(self, recipe: Recipe, prepared: PreparedDataset, tokenizer: Any, most: int | None) -> int:
        rows = recipe.finetune.positions if recipe.finetune.loss == "positions" else 1
        return longest_user_prompt(
            tokenizer, recipe, lambda: prepared.user_ids, partial(prepared.split, "train"), rows, most
        )

    def run(self, context: StageContext, state_folder: Path, folder: Path) -> dict[str, Any]:
        recipe = context.recipe
        model = context.model(context.embeddings(serving=False), adapters=True)
        aligned = context.artefacts.get("align")
        if aligned is not None:
            load_own_tensors(model, aligned.file(MODEL))
        folds = context.folds
        task = FinetuningTask(
            model,
            context.user_prompts(model.language_model.tokenizer),
            Examples(
                context.train,
                context.holdout,
                recipe.finetune,
                recipe.seed,
                None if folds is None else folds.of_interactions,
            ),
            context.train,
            context.prepared.validation_of_known(),
            recipe.finetune,
            aligned=aligned is not None,
            inference_batch=recipe.evaluate.batch_size,
            seed=recipe.seed,
            catalogue=context.prepared.items_to_learn,
            folds=() if folds is None else [context.node_tables(each) for each in folds.embeddings],
        )
        start = _started(context, task, aligned=aligned is not None)
        parameters = {name: parameter.numel() for name, parameter in trainable(model).items()}
        epochs = context.epochs_selected("finetune")
        if recipe.finetune.shard_catalogue:
            _shard_head(task, context)
        progress = train(
            task,
            recipe.finetune.training,
            state_folder=state_folder,
            description="fine-tune",
            start="the warm start" if start == REGRESSION else "what it started from",
            fixed_epochs=epochs,
        )
        task.join_head()
        write_tensors(folder / MODEL, own_tensors(model))
        details = {"trainable_parameters": sum(parameters.values()), **details_of(progress, epochs)}
        return details | ({"start": start} if "finetune" in context.starts else {})


def _started(context: StageContext, task: FinetuningTask, *, aligned: bool) -> str:
    """Start the task's model, and say how: at random, by the regression, or where an earlier training ended.

    Projectors and adapters that were trained before are kept. Of the tied head, what was learnt before is tried beside
    a regression on the states there are now, and the better of them on validation kept; a refit takes what was.
    """
    recipe, model = context.recipe, task.module
    before = earlier(context, "finetune")
    taken = before is not None and start_model(model, before, aligned=aligned)
    # The regression knows the state at the end of the prompt only, not those at the placeholders.
    if not (recipe.finetune.head == "tied" and recipe.finetune.loss == "first" and recipe.finetune.warm_start_users):
        return EARLIER if taken else RANDOM
    temperature = recipe.graph.temperature if recipe.graph.loss == "softmax" else 1.0
    if not taken:
        task.warm_start(temperature)
        return REGRESSION
    if context.selected is not None:
        # What selected may have started from nothing, where that alone was removed.
        chosen = str(context.selected["finetune"].details.get("start", REGRESSION))
        if chosen == REGRESSION:
            task.warm_start(temperature)
        return chosen
    learnt = {name: parameter.detach().clone() for name, parameter in model.head.named_parameters()}
    as_it_was = _figure(task)
    task.warm_start(temperature)
    fitted = _figure(task)
    kept = "as it was" if as_it_was >= fitted else "fitted anew"
    say(f"  head {kept}: {task.metric} {as_it_was:.4f} as it was, {fitted:.4f} fitted anew")
    if as_it_was < fitted:
        return REGRESSION
    with torch.no_grad():
        for name, parameter in model.head.named_parameters():
            parameter.copy_(learnt[name])
    return EARLIER


def _shard_head(task: FinetuningTask, context: StageContext) -> None:
    """Deal out the rows of the linear head to the processes, where there are several.

    Raises:
        InputError: the catalogue is so large that it would be sampled.
    """
    settings, items = context.recipe.finetune, task.seen.item_count
    if items > settings.softmax_items:
        raise InputError(
            f"the loss samples {settings.softmax_items:,} of {counted(items, 'item')}, and shards score all of them",
            location="finetune.shard_catalogue",
            hint=f"--set finetune.softmax_items={items}, or leave out finetune.shard_catalogue",
        )
    if team().size > 1:
        task.shard_head()
    else:
        say("  finetune.shard_catalogue: there is one process, which holds the whole head")


def _figure(task: FinetuningTask) -> float:
    """The metric that selects the epoch, of the model as it is."""
    task.module.eval()
    with torch.no_grad():
        return task.validate()[task.metric]


def _stage_3_prompts(recipe: Recipe) -> dict[str, Any]:
    keys = {"system", "recommendation", "profile_line", "prediction_line", "placeholder"}
    return recipe.prompts.model_dump(mode="json", include=keys)
