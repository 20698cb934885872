"""Vectors of users and items by now, of those a training knew and of those that came since; nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from glta_cli.data.prepared import PreparedDataset
from glta_cli.graph.cold_start import (
    Vectors,
    user_map,
    with_met_items,
    with_new_items,
    with_new_users,
)
from glta_cli.graph.pretraining import Embeddings
from glta_cli.graph.user_map import UserMap
from glta_cli.language.gllm import LinearHead, scoring_arrays
from glta_cli.language.model import GraphLanguageModel
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.registry import installed
from glta_cli.stages.cold_nodes import biases, met_items
from glta_cli.stages.context import StageContext
from glta_cli.stages.encode_items import later_text_vectors
from glta_cli.stages.serving_index import served_embeddings


@dataclass(frozen=True)
class GrownNodes:
    """What a trained encoder says of the users and items of a dataset, which may have grown since.

    Attributes:
        history: all interactions of the dataset.
        texts: vectors of all item texts as they are now, [I', D]; None where there are none.
        known: the edges the encoder propagates over, or the histories it reads, of the items a training knew.
        trained: how many users a training knew, which are the first.
        encoded: new users whom the encoder reads like any other, ascending.
        full: vectors the graph's own ranking is made of, of those a training knew.
        aligned: those behind the language model's tokens; the same object where they are the same.
        propagated: as `served_embeddings` returns it.
    """

    history: Interactions
    texts: Vectors | None
    known: Interactions
    trained: int
    encoded: NDArray[np.int64]
    full: Embeddings
    aligned: Embeddings
    propagated: bool

    @classmethod
    def of(cls, context: StageContext, grown: PreparedDataset, texts: Vectors | None) -> GrownNodes:
        """Those of a dataset, by the stages that were trained."""
        history, users = grown.history(), context.prepared.user_count
        known = among_known(history, grown.user_count if encodes_users(context) else users, context.prepared.item_count)
        told = None if texts is None else texts[: known.item_count]
        full, aligned, propagated = served_embeddings(context, known, told)
        encoded = users + np.flatnonzero(known.counts[users:])
        return cls(history, texts, known, users, encoded, full, aligned, propagated)

    @cached_property
    def met(self) -> NDArray[np.bool_]:
        """Which of the items a training knew anybody met, [I]."""
        return met_items(self.known)

    def everyone(self, known: Embeddings) -> Embeddings:
        """Vectors of all users and items of the history.

        Of items nobody met, what their texts foretell, until new users met them.

        Args:
            known: `full` or `aligned`.
        """
        history, items = self.history, self.items_foretold(known)
        users = with_new_users(known.users[: self.trained], items, history)
        users[self.encoded] = known.users[self.encoded]
        placed = np.zeros(history.item_count, dtype=bool)
        placed[: len(self.met)] = self.met
        return Embeddings(users, with_met_items(items, placed, users, history))

    def items_foretold(self, known: Embeddings) -> Vectors:
        """Vectors of all items, [I', d], new ones by their texts alone: what new users follow from."""
        return with_new_items(known.items, self.texts, self.history.item_count, self.met)

    def map_of_users(self, known: Embeddings, items: Vectors) -> UserMap:
        """What makes a new user's vector of those of its items, as `everyone` does; `items`: `items_foretold`."""
        return user_map(known.users[: self.trained], items, self.history)


def encodes_users(context: StageContext) -> bool:
    """Whether the encoder reads histories: new users' too."""
    return installed().find("encoder", context.recipe.graph.encoder).reads_histories()


def among_known(history: Interactions, users: int, items: int) -> Interactions:
    """The edges among the first users and items, which are those the encoder was trained on."""
    kept = (history.users < users) & (history.items < items)
    return Interactions.from_pairs(
        history.users[kept],
        history.items[kept],
        user_count=users,
        item_count=items,
        weights=None if history.weights is None else history.weights[kept],
    )


def text_vectors_now(context: StageContext, grown: PreparedDataset) -> Vectors | None:
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


def take_in(
    context: StageContext, model: GraphLanguageModel, nodes: Embeddings, item_count: int, texts: Vectors | None
) -> None:
    """Give the model's tokens and its head the users and items of now, in place.

    A linear head's row of an item no training has seen is foretold by the item's text.
    """
    device, head = model.device, model.head
    matrix, bias = scoring_arrays(head)
    head.bias = nn.Parameter(torch.from_numpy(biases(context, bias, item_count)).to(device))
    if isinstance(head, LinearHead):
        trained = met_items(context.train)
        weight = with_new_items(matrix, texts, item_count, trained)
        head.weight = nn.Parameter(torch.from_numpy(weight).to(device))
    model.use(context.node_tables(nodes, texts))
