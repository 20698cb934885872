"""Stage `align` (2): item tokens learn to match descriptions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from glta_cli.core.tensors import write_tensors
from glta_cli.data.prepared import PreparedDataset
from glta_cli.language.alignment import AlignmentPrompts, AlignmentTask
from glta_cli.language.model import own_tensors
from glta_cli.language.prompt_lengths import longest_alignment
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.selection import tokens_take_texts
from glta_cli.recipe.text_switches import asks_for
from glta_cli.stages.backbone import frozen_backbone_settings
from glta_cli.stages.context import MODEL, StageContext
from glta_cli.stages.stage import ModelStage, dealt_texts, details_of, trained
from glta_cli.stages.texts import require_text
from glta_cli.stages.warm_start import earlier, start_model
from glta_cli.training.loop import train


class Align(ModelStage):
    """Stage 2: the item projector and the head, on prompts that match item tokens with descriptions."""

    name = "align"
    inputs = ("prepare", "pretrain-graph", "encode-items")
    shared = True
    shortening = ("align.most_items", "align.description_tokens")

    def needed(self, recipe: Recipe, prepared: PreparedDataset) -> bool:
        """Whether the recipe has it and the dataset item texts.

        Raises:
            InputError: the recipe itself asks for it, and there are none.
        """
        on = recipe.finetune.enabled and recipe.align.enabled
        if on and asks_for(recipe, "align", "enabled"):
            self.require_texts(prepared)
        return on and prepared.has_text

    def require_texts(self, prepared: PreparedDataset) -> None:
        require_text(prepared, "align", "align.enabled=false")

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        return {
            "align": trained(recipe.align),
            "backbone": frozen_backbone_settings(recipe),
            "prompts": {"system": recipe.prompts.system, "alignment": recipe.prompts.alignment},
            "head": recipe.finetune.head,
            "seed": recipe.seed,
            # What was published before there was a choice stays found.
            **({"item_tokens": recipe.finetune.item_tokens} if tokens_take_texts(recipe) else {}),
            **dealt_texts(recipe),
        }

    def longest_prompt(self, recipe: Recipe, prepared: PreparedDataset, tokenizer: Any, most: int | None) -> int:
        return longest_alignment(tokenizer, lambda: prepared.texts, recipe.align, recipe.prompts, most)

    def run(self, context: StageContext, state_folder: Path, folder: Path) -> dict[str, Any]:
        recipe = context.recipe
        model = context.model(context.embeddings(serving=False), adapters=False)
        tokenizer = model.language_model.tokenizer
        prompts = AlignmentPrompts(
            tokenizer,
            context.texts,
            context.prepared.user_count,
            recipe.align,
            recipe.prompts,
            among=context.prepared.items_to_learn,
        )
        task = AlignmentTask(model, prompts, recipe.align, recipe.seed)
        start = earlier(context, "align")
        if start is not None:
            start_model(model, start, aligned=False)
        epochs = context.epochs_selected("align")
        progress = train(
            task, recipe.align.training, state_folder=state_folder, description="align items", fixed_epochs=epochs
        )
        write_tensors(folder / MODEL, own_tensors(model))
        return {"labels": recipe.align.labels, **details_of(progress, epochs)}
