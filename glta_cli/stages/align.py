"""Stage `align` (2): item tokens learn to match descriptions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from glta_cli.core.tensors import write_tensors
from glta_cli.data.prepared import PreparedDataset
from glta_cli.language.alignment import AlignmentPrompts, AlignmentTask
from glta_cli.language.model import own_tensors
from glta_cli.recipe.schema import Recipe
from glta_cli.stages.backbone import frozen_backbone_settings
from glta_cli.stages.context import MODEL, StageContext
from glta_cli.stages.stage import TIMING, ModelStage, dealt_texts, require_text, training_details
from glta_cli.training.loop import train


class Align(ModelStage):
    """Stage 2: the item projector and the head, on prompts that match item tokens with descriptions."""

    name = "align"
    inputs = ("prepare", "pretrain-graph", "encode-items")

    def needed(self, recipe: Recipe, prepared: PreparedDataset) -> bool:
        return recipe.finetune.enabled and recipe.align.enabled

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        return {
            "align": recipe.align.model_dump(mode="json", exclude=TIMING),
            "backbone": frozen_backbone_settings(recipe),
            "prompts": {"system": recipe.prompts.system, "alignment": recipe.prompts.alignment},
            "head": recipe.finetune.head,
            "seed": recipe.seed,
            **dealt_texts(recipe),
        }

    def run(self, context: StageContext, state_folder: Path, folder: Path) -> dict[str, Any]:
        recipe = context.recipe
        require_text(context.prepared, "align", "align.enabled=false")
        model = context.model(context.embeddings(serving=False), adapters=False)
        tokenizer = model.language_model.tokenizer
        prompts = AlignmentPrompts(tokenizer, context.texts, context.prepared.user_count, recipe.align, recipe.prompts)
        task = AlignmentTask(model, prompts, recipe.align, recipe.seed)
        progress = train(task, recipe.align.training, state_folder=state_folder, description="align items")
        write_tensors(folder / MODEL, own_tensors(model))
        return {"labels": recipe.align.labels, **training_details(progress)}
