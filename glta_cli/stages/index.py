"""Stage `index`: what the trained model knows of every user and item, as vectors to rank by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.progress import progress_bar
from glta_cli.data.prepared import PreparedDataset
from glta_cli.graph.cold_start import with_unmet_foretold
from glta_cli.graph.pretraining import Embeddings
from glta_cli.language.gllm import scoring_arrays
from glta_cli.language.model import GraphLanguageModel, load_own_tensors
from glta_cli.language.prompt_lengths import longest_user_prompt
from glta_cli.language.readout import UserPrompts, encode_users
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.scorer import Scorer
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.selection import encoder_dimension
from glta_cli.serving.fusion import KEPT_BEFORE_INDEX, FusionWeights, choose_weights, fusion_users
from glta_cli.serving.index import LAYOUT, LanguageScores, write_index
from glta_cli.stages.cold_nodes import PRIOR, aligned_parameters, biases, chosen_prior, met_items, with_cold_nodes
from glta_cli.stages.context import MODEL, StageContext, head_takes_texts, read_embeddings
from glta_cli.stages.known_at_test import known_at_test
from glta_cli.stages.stage import FLOAT, ModelStage


class BuildIndex(ModelStage):
    """Read every user out of the model once, choose the fusion weights on validation, and publish vectors."""

    name = "index"
    inputs: tuple[str, ...] = (
        "prepare",
        "pretrain-graph",
        "encode-items",
        "align",
        "describe-users",
        "finetune",
    )
    shortening = ("finetune.context_items", "interests.new_tokens", "finetune.positions")

    def needed(self, recipe: Recipe, prepared: PreparedDataset) -> bool:
        return recipe.finetune.enabled

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        return {
            "layout": LAYOUT,
            "readout": recipe.finetune.readout,
            "fusion": recipe.finetune.fusion,
            "positions": recipe.finetune.positions,
            **known_at_test(recipe),
        }

    def longest_prompt(self, recipe: Recipe, prepared: PreparedDataset, tokenizer: Any, most: int | None) -> int:
        return longest_user_prompt(
            tokenizer, recipe, lambda: prepared.user_ids, prepared.histories_at_test, rows_read(recipe), most
        )

    def bytes_to_write(self, context: StageContext) -> int:
        recipe, prepared = context.recipe, context.prepared
        users, items, graph = prepared.user_count, prepared.item_count, encoder_dimension(recipe)
        rows = rows_read(recipe)
        language = 0  # that of a linear head is the language model's, which is not read for this
        if recipe.finetune.head == "tied":
            texts = "encode-items" in context.artefacts and head_takes_texts(recipe)
            language = graph + (int(context.artefacts["encode-items"].details["dimensions"]) if texts else 0)
        return FLOAT * ((users * rows + items) * language + (users + items) * graph)

    def run(self, context: StageContext, state_folder: Path, folder: Path) -> dict[str, Any]:
        settings = context.recipe.finetune
        histories = context.histories_at_test
        encoder, aligned = context.artefacts["pretrain-graph"], aligned_parameters(context)
        graph = with_cold_nodes(context, read_embeddings(encoder, at_test=True), histories)
        at_test = with_cold_nodes(context, context.embeddings_at_test(), histories, parameters=aligned)
        language = read_out(context, at_test, histories)
        told = fair_to_unmet(context, language)
        weights = None
        if settings.fusion:
            weights = self._fusion_weights(context, graph, language)
        prepared = context.prepared
        write_index(
            folder,
            language,
            graph.users,
            graph.items,
            histories.counts,
            prepared.history(),
            seen=prepared.seen(),
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
            **told,
        }

    @staticmethod
    def _fusion_weights(context: StageContext, graph: Embeddings, language: LanguageScores) -> FusionWeights:
        """Chosen on validation, by the histories then: where those at test time are others, users are read out again.

        Args:
            graph, language: by the histories at test time.
        """
        seed, known = context.recipe.seed, context.prepared.histories_at_validation()
        if context.prepared.histories_differ:
            graph = with_cold_nodes(context, read_embeddings(context.artefacts["pretrain-graph"]), known)
            aligned = with_cold_nodes(
                context, context.embeddings(serving=True), known, parameters=aligned_parameters(context)
            )
            users = fusion_users(context.validation, seed=seed)
            language = read_out(context, aligned, known, users)
        scorer: Scorer = language.scorer(known)
        return choose_weights(graph.scorer(), scorer, known, context.validation, seed=seed)


def fair_to_unmet(context: StageContext, language: LanguageScores) -> dict[str, Any]:
    """Give items that are hidden from training a bias a query can outweigh, in place; and what is to be told of it."""
    prepared = context.prepared
    if prepared.hides != "items":
        return {}
    met = met_items(context.train)
    if context.recipe.finetune.head == "linear":
        # A row of its own that no training has touched: what the item's text foretells stands for it.
        texts = context.text_vectors() if "encode-items" in context.artefacts else None
        language.columns = np.ascontiguousarray(with_unmet_foretold(language.columns.T, texts, met).T)
    prior = chosen_prior(context, language, prepared.histories_at_validation(), context.validation)
    language.bias = biases(context, language.bias, prepared.item_count, prior)
    return {PRIOR: prior}


def rows_read(recipe: Recipe) -> int:
    """How many queries are read out of the model for each user."""
    return 1 if recipe.finetune.readout == "first" else recipe.finetune.positions


def read_out(
    context: StageContext, embeddings: Embeddings, history: Interactions, users: NDArray[np.int64] | None = None
) -> LanguageScores:
    """What the fine-tuned model says of users.

    Args:
        embeddings: behind the tokens of users and items, and behind the tied head.
        history: what prompts show of each user, in order of time.
        users: those to read out, [n]; None for everyone.

    Returns:
        Rows of all U users; those of others than `users` are zeros.
    """
    everyone = np.arange(context.prepared.user_count)
    model = fine_tuned(context, embeddings)
    prompts = context.user_prompts(model.language_model.tokenizer)
    rows = read_rows(model, prompts, context.recipe, history, everyone if users is None else users)  # [n, R, D]
    if users is not None and len(users) < len(everyone):
        every = np.zeros((len(everyone), *rows.shape[1:]), dtype=np.float32)
        every[users] = rows
        rows = every
    return LanguageScores(rows, *scoring_arrays(model.head))


def fine_tuned(context: StageContext, embeddings: Embeddings) -> GraphLanguageModel:
    """The model as stage `finetune` left it, around these embeddings."""
    model = context.model(embeddings, adapters=True)
    load_own_tensors(model, context.artefacts["finetune"].file(MODEL))
    return model


def read_rows(
    model: GraphLanguageModel, prompts: UserPrompts, recipe: Recipe, history: Interactions, users: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The queries of users [n], as many as the recipe reads of each: [n, R, D]."""
    model.share_prefix(prompts.template.literals[0])
    with progress_bar(len(users), "read out users", "users", step="this batch of users", kept=KEPT_BEFORE_INDEX) as bar:
        return encode_users(
            model,
            prompts,
            history,
            users,
            rows=rows_read(recipe),
            batch_size=recipe.evaluate.batch_size,
            autoregressive=recipe.finetune.readout == "autoregressive",
            advance=bar.update,
        )
