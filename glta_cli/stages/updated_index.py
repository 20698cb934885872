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
from glta_cli.serving.index import VECTORS, Index, LanguageScores, mapped_tensors
from glta_cli.stages.context import WORDS, StageContext
from glta_cli.stages.encode_items import later_text_vectors
from glta_cli.stages.index import fine_tuned, read_rows
from glta_cli.stages.serving_index import biases, known_details, served_embeddings, write_known
from glta_cli.workspace.artefact import Artefact


def write_updated_index(context: StageContext, base: Artefact, grown: PreparedDataset, folder: Path) -> dict[str, Any]:
    """Write the index of a dataset that grew, and return what its manifest says.

    Nothing is trained. Parameters are propagated over all edges among the users and items a training knew; of the
    others, users follow from their items, items from their texts and from who met them (`graph/cold_start.py`). Users
    whose history is another than in `base`, and new ones, are read out of the language model; the others keep the rows
    they had. Nobody wrote words about new users.

    Args:
        context: of the stages that were trained.
        base: the index that answered until now.
        grown: with the users and items of `base` under the indices they had, new ones behind them.
    """
    history = grown.history()
    texts = _text_vectors(context, grown)
    known = _among_known(history, context.prepared.user_count, context.prepared.item_count)
    graph, aligned, propagated = served_embeddings(context, known)
    model = fine_tuned(context, aligned)
    extended = _extended(graph, history, texts)
    _take_in(context, model, extended if aligned is graph else _extended(aligned, history, texts), history, texts)

    before = mapped_tensors(base.mapped_file(VECTORS))["rows"]  # [U', R, D]
    stale = _stale_users(Index(base).history, history)
    rows = np.zeros((history.user_count, *before.shape[1:]), dtype=np.float32)
    rows[: len(before)] = before
    if len(stale):
        prompts = _prompts(context, model.language_model.tokenizer, grown)
        rows[stale] = read_rows(model, prompts, context.recipe, history, stale)
    write_known(folder, LanguageScores(rows, *scoring_arrays(model.head)), extended, grown, history)
    kept = {name: base.details[name] for name in ("dataset", "encoder", "readout", "fusion")}
    sizes = {"users": grown.user_count, "items": grown.item_count, "read_out": len(stale)}
    return kept | sizes | known_details(grown, history) | {"trained": len(context.train), "propagated": propagated}


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


def _extended(known: Embeddings, history: Interactions, texts: Vectors | None) -> Embeddings:
    """Vectors of all users and items of a history: of known ones, and of those behind them."""
    items = with_new_items(known.items, texts, history.item_count)
    users = with_new_users(known.users, items, history)
    return Embeddings(users, with_met_items(items, len(known.items), users, history))


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
        head.weight = nn.Parameter(torch.from_numpy(with_new_items(matrix, texts, history.item_count)).to(device))
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
