"""Reading users out of the fine-tuned model: what it says of each, as queries to rank the catalogue by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.progress import progress_bar
from glta_cli.graph.pretraining import Embeddings
from glta_cli.language.gllm import scoring_arrays
from glta_cli.language.model import GraphLanguageModel, load_own_tensors
from glta_cli.language.readout import UserPrompts, encode_users
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.schema import Recipe
from glta_cli.serving.fusion import KEPT_BEFORE_INDEX
from glta_cli.serving.language_scores import LanguageScores
from glta_cli.stages.context import MODEL, StageContext


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
