"""Stage `index`: what the trained model knows of every user and item, as vectors to rank by."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from glta_cli.core.progress import progress_bar
from glta_cli.data.prepared import PreparedDataset
from glta_cli.language.gllm import scoring_arrays
from glta_cli.language.model import load_own_tensors
from glta_cli.language.prompt_lengths import longest_user_prompt
from glta_cli.language.readout import encode_users
from glta_cli.plugin.scorer import Scorer
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.selection import encoder_dimension
from glta_cli.serving.fusion import KEPT_BEFORE_INDEX, choose_weights
from glta_cli.serving.index import LAYOUT, LanguageScores, write_index
from glta_cli.stages.context import MODEL, StageContext, head_takes_texts, read_embeddings
from glta_cli.stages.stage import FLOAT, ModelStage


class BuildIndex(ModelStage):
    """Read every user out of the model once, choose the fusion weights on validation, and publish vectors."""

    name = "index"
    inputs = ("prepare", "pretrain-graph", "encode-items", "align", "describe-users", "finetune")
    shortening = ("finetune.context_items", "interests.new_tokens", "finetune.positions")

    def needed(self, recipe: Recipe, prepared: PreparedDataset) -> bool:
        return recipe.finetune.enabled

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        return {
            "layout": LAYOUT,
            "readout": recipe.finetune.readout,
            "fusion": recipe.finetune.fusion,
            "positions": recipe.finetune.positions,
        }

    def longest_prompt(self, recipe: Recipe, prepared: PreparedDataset, tokenizer: Any, most: int | None) -> int:
        rows = 1 if recipe.finetune.readout == "first" else recipe.finetune.positions
        return longest_user_prompt(
            tokenizer, recipe, lambda: prepared.user_ids, partial(prepared.split, "train"), rows, most
        )

    def bytes_to_write(self, context: StageContext) -> int:
        recipe, prepared = context.recipe, context.prepared
        users, items, graph = prepared.user_count, prepared.item_count, encoder_dimension(recipe)
        rows = 1 if recipe.finetune.readout == "first" else recipe.finetune.positions
        language = 0  # that of a linear head is the language model's, which is not read for this
        if recipe.finetune.head == "tied":
            texts = "encode-items" in context.artefacts and head_takes_texts(recipe)
            language = graph + (int(context.artefacts["encode-items"].details["dimensions"]) if texts else 0)
        return FLOAT * ((users * rows + items) * language + (users + items) * graph)

    def run(self, context: StageContext, state_folder: Path, folder: Path) -> dict[str, Any]:
        settings = context.recipe.finetune
        language = self._language_scores(context)
        graph = read_embeddings(context.artefacts["pretrain-graph"])
        weights = None
        if settings.fusion:
            scorer: Scorer = language.scorer(context.train)
            weights = choose_weights(
                graph.scorer(), scorer, context.train, context.validation, seed=context.recipe.seed
            )
        prepared = context.prepared
        write_index(
            folder,
            language,
            graph.users,
            graph.items,
            context.train.counts,
            prepared.history(),
            user_ids=prepared.user_ids,
            item_ids=prepared.item_ids,
            titles=prepared.titles,
        )
        return {
            "dataset": prepared.name,
            "users": prepared.user_count,
            "items": prepared.item_count,
            "encoder": context.recipe.graph.encoder,
            "readout": settings.readout,
            "fusion": None if weights is None else {"starts": weights.starts, "weights": weights.weights},
        }

    @staticmethod
    def _language_scores(context: StageContext) -> LanguageScores:
        recipe = context.recipe
        model = context.model(context.embeddings(serving=True), adapters=True)
        load_own_tensors(model, context.artefacts["finetune"].file(MODEL))
        prompts = context.user_prompts(model.language_model.tokenizer)
        model.share_prefix(prompts.template.literals[0])
        users = np.arange(context.prepared.user_count)
        with progress_bar(
            len(users), "read out users", "users", step="this batch of users", kept=KEPT_BEFORE_INDEX
        ) as bar:
            rows = encode_users(
                model,
                prompts,
                context.train,
                users,
                rows=1 if recipe.finetune.readout == "first" else recipe.finetune.positions,
                batch_size=recipe.evaluate.batch_size,
                autoregressive=recipe.finetune.readout == "autoregressive",
                advance=bar.update,
            )
        return LanguageScores(rows, *scoring_arrays(model.head))
