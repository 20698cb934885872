"""Vectors and biases of users and items that no training has met: how they are measured, and how they are served."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from glta_cli.core.tensors import read_tensors
from glta_cli.graph.cold_start import Vectors, with_unmet_foretold, with_unmet_users
from glta_cli.graph.pretraining import Embeddings
from glta_cli.plugin.interaction_graph import InteractionGraph
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.registry import installed
from glta_cli.ranking.metrics import ranking_metrics
from glta_cli.ranking.top_k import rank_users
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.selection import reads_text, text_reader
from glta_cli.serving.fusion import CUTOFF, fusion_users
from glta_cli.serving.language_scores import LanguageScores
from glta_cli.stages.context import ALIGNMENT_GRAPH, StageContext
from glta_cli.stages.parameter_files import ALIGNMENT_PARAMETERS, FULL_PARAMETERS
from glta_cli.stages.propagation import embeddings_on, encoder_on

# What an index says of the bias it gave to items no training has met: a quantile of the biases of the others.
PRIOR = "cold_prior"
PRIORS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


def with_cold_nodes(
    context: StageContext,
    found: Embeddings,
    histories: Interactions,
    *,
    parameters: str = FULL_PARAMETERS,
    texts: Vectors | None = None,
) -> Embeddings:
    """What is known of all users and items of a split that hides some of either; of any other split, what was found.

    Free vectors of nodes no training has met are noise: in their place an item has what its text foretells, and a user
    what its items do (`graph/cold_start.py`), as new ones are served. An encoder that learns nothing of each user by
    itself is asked on the graph of these histories.

    Args:
        found: by the graph of training interactions.
        histories: what is known of each user now.
        parameters: FULL_PARAMETERS, or those of the encoder behind stages 2 and 3.
        texts: the vectors of the item texts by now, [I, D]; None takes those of the training.
    """
    if context.prepared.hides is None:
        return found
    known = context.train.counts > 0
    of_each_user = learns_users(context, parameters)
    if not of_each_user:
        found = embeddings_on(context, histories, parameters=parameters, texts=texts)
    items = with_texts_foretold(context, found.items, met_items(context.train), parameters, texts)
    if not of_each_user:
        return Embeddings(found.users, items)
    return Embeddings(with_unmet_users(found.users, items, histories, known), items)


def foretells_hidden(recipe: Recipe) -> bool:
    """Whether items are hidden, and there is what reads the texts that foretell their vectors."""
    return recipe.dataset.split.hides == "items" and reads_text(text_reader(recipe))


def aligned_parameters(context: StageContext) -> str:
    """The file of the parameters behind stages 2 and 3."""
    return ALIGNMENT_PARAMETERS if context.artefacts["pretrain-graph"].has(ALIGNMENT_GRAPH) else FULL_PARAMETERS


def with_texts_foretold(
    context: StageContext, items: Vectors, met: NDArray[np.bool_], parameters: str, texts: Vectors | None = None
) -> Vectors:
    """Item vectors [I, d] in which those of items nobody met are foretold, where an encoder learns something of each.

    Args:
        met: which items anybody met, [I].
        texts: as those of `with_cold_nodes`.
    """
    if met.all() or not learns_items(context, parameters):
        return items
    if texts is None and "encode-items" in context.artefacts:
        texts = context.text_vectors()
    return with_unmet_foretold(items, texts, met)


def met_items(history: Interactions) -> NDArray[np.bool_]:
    """Which items anybody met, bool [I]."""
    met: NDArray[np.bool_] = np.bincount(history.items, minlength=history.item_count) > 0
    return met


def learns_items(context: StageContext, parameters: str) -> bool:
    """Whether an encoder learns something of each item by itself; one that reads its text says something of all."""
    return _grows(context, parameters, more_items=1)


def learns_users(context: StageContext, parameters: str) -> bool:
    """Whether an encoder learns something of each user by itself; one that does not follows from edges alone."""
    # One that reads histories may not, as its contract has it.
    reads_histories = installed().find("encoder", context.recipe.graph.encoder).reads_histories()
    return not reads_histories and _grows(context, parameters, more_users=1)


def _grows(context: StageContext, parameters: str, *, more_users: int = 0, more_items: int = 0) -> bool:
    """Whether the encoder would have parameters of other shapes with more nodes of one side, of which nothing is known.

    Parameters depend on nothing but the numbers of users and items (`GraphEncoder`). As many rows as there are users
    say nothing by themselves: a layer may be as wide.
    """
    stored = read_tensors(context.artefacts["pretrain-graph"].file(parameters))
    edges, texts = context.train, None
    wider = Interactions.from_pairs(
        edges.users,
        edges.items,
        user_count=edges.user_count + more_users,
        item_count=edges.item_count + more_items,
        weights=edges.weights,
    )
    if installed().find("encoder", context.recipe.graph.encoder).needs_text_vectors():
        texts = np.pad(context.text_vectors(), ((0, more_items), (0, 0)))
    with torch.random.fork_rng():  # what it draws is not kept
        other = encoder_on(context, InteractionGraph(wider), texts).state_dict()
    shapes = ({name: tuple(tensor.shape) for name, tensor in each.items()} for each in (stored, other))
    return next(shapes) != next(shapes)


# ------------------------------------------------------------------------------------------------------- biases


def biases(context: StageContext, trained: Vectors, count: int, prior: float | None = None) -> Vectors:
    """The head's biases of all `count` items; those no training met have a quantile of the others', or their mean.

    A bias stands for how many want an item whoever they are. Of an item without a training interaction that is not
    known: what the head learnt of it, or its log of nothing, says that it was new or never shown, and would keep it out
    of every answer whatever its text says.

    Args:
        trained: of the items a training knew, [I] with I at most `count`.
        prior: the quantile; None takes what the index chose on hidden items, and the mean where there were none.
    """
    index = context.artefacts.get("index")
    if prior is None and index is not None:
        prior = index.details.get(PRIOR)
    met = np.bincount(context.train.items, minlength=len(trained)) > 0
    known = trained[met]
    result = np.full(count, known.mean() if prior is None else np.quantile(known, prior), dtype=np.float32)
    result[: len(trained)][met] = known
    return result


def fair_to_unmet(context: StageContext, language: LanguageScores) -> dict[str, Any]:
    """Give items that are hidden from training a bias a query can outweigh, in place; and what is to be told of it."""
    prepared = context.prepared
    if prepared.hides != "items":
        return {}
    if context.recipe.finetune.head == "linear":
        # A row of its own that no training has touched: what the item's text foretells stands for it.
        texts = context.text_vectors() if "encode-items" in context.artefacts else None
        rows = with_unmet_foretold(language.columns.T, texts, met_items(context.train))
        language.columns = np.ascontiguousarray(rows.T)
    prior = chosen_prior(context, language, prepared.histories_at_validation(), context.validation)
    language.bias = biases(context, language.bias, prepared.item_count, prior)
    return {PRIOR: prior}


def chosen_prior(
    context: StageContext, language: LanguageScores, histories: Interactions, validation: Interactions
) -> float:
    """The quantile with the best validation NDCG@10 of the language model's own ranking of the whole catalogue.

    Validation holds interactions with items every training has met and with items none has: a prior too high puts new
    items before what a user wants, one too low keeps them out. Of equal ones it is the lowest.
    """
    users = fusion_users(validation, seed=context.recipe.seed)
    trained, quality = language.bias, []
    for prior in PRIORS:
        language.bias = biases(context, trained, len(trained), prior)
        ranked = rank_users(language.scorer(histories), users, CUTOFF, histories, description="choose a prior")
        quality.append(ranking_metrics(ranked, users, validation, [CUTOFF])[f"ndcg@{CUTOFF}"].mean())
    language.bias = trained
    return PRIORS[int(np.argmax(quality))]
