"""An index brought up to date with the same parameters: new edges, new users and items, other texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.parquet import read_table
from glta_cli.data.prepared import PreparedDataset
from glta_cli.language.gllm import scoring_arrays
from glta_cli.language.model import GraphLanguageModel
from glta_cli.language.readout import UserPrompts
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.fused_terms import ENCODER, LANGUAGE, LINEAR
from glta_cli.serving.index import VECTORS, Index, LanguageScores, mapped_tensors
from glta_cli.stages.context import WORDS, StageContext
from glta_cli.stages.grown_nodes import GrownNodes, take_in, text_vectors_now
from glta_cli.stages.read_out import fine_tuned, read_rows
from glta_cli.stages.serving_index import (
    answering_terms,
    kept_details,
    known_details,
    write_known,
    write_served_linear,
)
from glta_cli.workspace.artefact import Artefact


def write_updated_index(context: StageContext, base: Artefact, grown: PreparedDataset, folder: Path) -> dict[str, Any]:
    """Write the index of a dataset that grew, and return what its manifest says.

    Nothing is trained. Parameters are propagated over all edges among the users and items a training knew; of the
    others, users follow from their items, items from their texts and from who met them (`graph/cold_start.py`); but an
    encoder that reads histories encodes new users like any other. A linear term scores everyone by the items they have
    now. Users whose history is another than in `base`, and new ones, are read out of the language model where it takes
    part; the others keep the rows they had. Nobody wrote words about new users.

    Args:
        context: of the stages that were trained.
        base: the index that answered until now.
        grown: with the users and items of `base` under the indices they had, new ones behind them.
    """
    history, terms = grown.history(), answering_terms(base)
    texts = text_vectors_now(context, grown)
    graph = language = propagated = None
    read = 0
    if {ENCODER, LANGUAGE} & set(terms):
        nodes = GrownNodes.of(context, grown, texts)
        propagated = nodes.propagated
        graph = nodes.everyone(nodes.full)
        if LANGUAGE in terms:
            aligned = graph if nodes.aligned is nodes.full else nodes.everyone(nodes.aligned)
            model = fine_tuned(context, nodes.aligned)
            take_in(context, model, aligned, history.item_count, texts)
            language, read = _language_scores(context, model, base, grown)
    if LINEAR in terms:
        write_served_linear(context, grown.item_count, texts, folder)
    write_known(folder, terms, language, graph, grown, history, context.prepared.user_count)
    sizes = {"dataset": base.details["dataset"], "users": grown.user_count, "items": grown.item_count}
    kept = {**sizes, **kept_details(base, terms), "read_out": read}
    return kept | known_details(grown, history) | {"trained": len(context.train), "propagated": propagated}


def _language_scores(
    context: StageContext, model: GraphLanguageModel, base: Artefact, grown: PreparedDataset
) -> tuple[LanguageScores, int]:
    """The rows of all users of now, as they stand in the base but for those that are read out; and how many those are.

    Args:
        model: with the users and items of now.
    """
    history = grown.history()
    before = mapped_tensors(base.mapped_file(VECTORS))["rows"]  # [U', R, D]
    stale = _stale_users(Index(base).history, history)
    rows = np.zeros((history.user_count, *before.shape[1:]), dtype=np.float32)
    rows[: len(before)] = before
    if len(stale):
        prompts = _prompts(context, model.language_model.tokenizer, grown)
        rows[stale] = read_rows(model, prompts, context.recipe, history, stale)
    return LanguageScores(rows, *scoring_arrays(model.head)), len(stale)


def _stale_users(before: Interactions, now: Interactions) -> NDArray[np.int64]:
    """Users whose items are others than they were, or in another order, and those who are new; ascending."""
    count = before.user_count
    stale = np.ones(now.user_count, dtype=bool)
    same_length = before.counts == now.counts[:count]
    rows = np.repeat(same_length, before.counts)
    other = before.items[rows] != now.items[: now.indptr[count]][np.repeat(same_length, now.counts[:count])]
    differs = np.bincount(before.users[rows][other], minlength=count) > 0
    stale[:count] = ~same_length | differs
    return np.flatnonzero(stale)


def _prompts(context: StageContext, tokenizer: Any, grown: PreparedDataset) -> UserPrompts:
    count = grown.user_count
    profiles, predictions = [""] * count, [""] * count
    artefact = context.artefacts.get("describe-users")
    if artefact is not None:
        words = read_table(artefact.file(WORDS), "profile", "prediction")
        known = words.height
        profiles[:known], predictions[:known] = words["profile"].to_list(), words["prediction"].to_list()
    tokens = np.arange(count)
    tokens[: context.prepared.user_count] = context.token_users
    recipe = context.recipe
    return UserPrompts(tokenizer, grown.user_ids, profiles, predictions, recipe.finetune, recipe.prompts, tokens)
