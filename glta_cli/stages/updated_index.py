"""An index brought up to date with the same parameters: new edges, new users and items, other texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from glta_cli.core.parquet import read_table
from glta_cli.data.prepared import PreparedDataset
from glta_cli.graph.cold_start import Vectors, with_met_items, with_new_items, with_new_users
from glta_cli.graph.pretraining import Embeddings
from glta_cli.language.gllm import LinearHead, scoring_arrays
from glta_cli.language.model import GraphLanguageModel
from glta_cli.language.readout import UserPrompts
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.registry import installed
from glta_cli.recipe.fused_terms import ENCODER, LANGUAGE, LINEAR
from glta_cli.serving.index import VECTORS, Index, LanguageScores, mapped_tensors
from glta_cli.stages.context import WORDS, StageContext
from glta_cli.stages.encode_items import later_text_vectors
from glta_cli.stages.read_out import fine_tuned, read_rows
from glta_cli.stages.serving_index import (
    answering_terms,
    biases,
    kept_details,
    known_details,
    met_items,
    served_embeddings,
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
    texts = _text_vectors(context, grown)
    graph = language = propagated = None
    read = 0
    if {ENCODER, LANGUAGE} & set(terms):
        users = context.prepared.user_count
        in_order = installed().find("encoder", context.recipe.graph.encoder).reads_histories()
        known = _among_known(history, grown.user_count if in_order else users, context.prepared.item_count)
        encoded = users + np.flatnonzero(known.counts[users:])
        met = met_items(known)
        told = None if texts is None else texts[: len(met)]
        trained, aligned, propagated = served_embeddings(context, known, told)
        graph = _extended(trained, users, encoded, met, history, texts)
        if LANGUAGE in terms:
            nodes = graph if aligned is trained else _extended(aligned, users, encoded, met, history, texts)
            model = fine_tuned(context, aligned)
            _take_in(context, model, nodes, history, texts)
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


def _among_known(history: Interactions, users: int, items: int) -> Interactions:
    """The edges among the first users and items, which are those the encoder was trained on."""
    kept = (history.users < users) & (history.items < items)
    return Interactions.from_pairs(
        history.users[kept],
        history.items[kept],
        user_count=users,
        item_count=items,
        weights=None if history.weights is None else history.weights[kept],
    )


def _extended(
    known: Embeddings,
    trained: int,
    encoded: NDArray[np.int64],
    met: NDArray[np.bool_],
    history: Interactions,
    texts: Vectors | None,
) -> Embeddings:
    """Vectors of all users and items of a history: of known ones, and of those behind them.

    Args:
        trained: how many users a training knew, which are the first.
        encoded: new users whose vectors are known all the same.
        met: which of the known items such a user met, [I]; what is said of the others is what their texts foretell,
            until new users met them.
    """
    items = with_new_items(known.items, texts, history.item_count, met)
    users = with_new_users(known.users[:trained], items, history)
    users[encoded] = known.users[encoded]
    placed = np.zeros(history.item_count, dtype=bool)
    placed[: len(met)] = met
    return Embeddings(users, with_met_items(items, placed, users, history))


def _text_vectors(context: StageContext, grown: PreparedDataset) -> Vectors | None:
    """The vectors of all item texts as they are now, [I, D]: new and changed ones in the space of the trained ones."""
    if "encode-items" not in context.artefacts:
        return None
    trained, texts = context.prepared.texts, grown.texts
    known = context.text_vectors()
    changed = [item for item, text in enumerate(texts) if item >= len(trained) or text != trained[item]]
    vectors = np.zeros((len(texts), known.shape[1]), dtype=np.float32)
    vectors[: len(known)] = known
    if changed:
        vectors[changed] = later_text_vectors(context, [texts[item] for item in changed])
    return vectors


def _take_in(
    context: StageContext, model: GraphLanguageModel, nodes: Embeddings, history: Interactions, texts: Vectors | None
) -> None:
    """Give the model's tokens and its head the users and items of a history, in place.

    A linear head's row of an item no training has seen is foretold by the item's text.
    """
    device, head = model.device, model.head
    matrix, bias = scoring_arrays(head)
    head.bias = nn.Parameter(torch.from_numpy(biases(context, bias, history.item_count)).to(device))
    if isinstance(head, LinearHead):
        trained = met_items(context.train)
        weight = with_new_items(matrix, texts, history.item_count, trained)
        head.weight = nn.Parameter(torch.from_numpy(weight).to(device))
    model.use(context.node_tables(nodes, texts))


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
