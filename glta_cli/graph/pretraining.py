"""Stage 1: train a graph encoder on the training interactions, selected by validation NDCG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, assert_never

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from glta_cli.core.interruption import stops_after
from glta_cli.graph.edges import folder_of_edges
from glta_cli.graph.embeddings import Embeddings as Embeddings
from glta_cli.graph.embeddings import embeddings_of as embeddings_of
from glta_cli.graph.embeddings import scaled_items
from glta_cli.graph.encoder_task import EncoderTask
from glta_cli.graph.encoder_task import validation_users as validation_users
from glta_cli.graph.histories import reads_histories
from glta_cli.graph.negatives import NegativeSampler
from glta_cli.graph.neighbours import require_sampling
from glta_cli.graph.next_item import NextItemBprTask, NextItemSoftmaxTask
from glta_cli.graph.sampled_losses import BprOnSamples, SoftmaxOnSamples
from glta_cli.plugin.interaction_graph import InteractionGraph
from glta_cli.plugin.interactions import Interactions
from glta_cli.ranking.selection import SELECTION_METRIC as SELECTION_METRIC
from glta_cli.recipe.schema import GraphSettings
from glta_cli.training.data_parallel import dealt
from glta_cli.training.loop import TrainingProgress, train
from glta_cli.training.losses import Positives, bpr_loss, catalogue_softmax_loss

EncoderFactory = Callable[[InteractionGraph], nn.Module]


@dataclass(frozen=True)
class PretrainedEncoder:
    """A trained encoder and how its training went."""

    module: nn.Module
    embeddings: Embeddings
    progress: TrainingProgress


def pretrain(
    make_encoder: EncoderFactory,
    settings: GraphSettings,
    graph_interactions: Interactions,
    seen: Interactions,
    validation: Interactions,
    *,
    seed: int,
    device: torch.device,
    state_folder: Path,
    description: str,
    fixed_epochs: int | None = None,
    catalogue: NDArray[np.int64] | None = None,
) -> PretrainedEncoder:
    """Train one encoder: of graphs by every item of each user, one that reads histories by the next item of each place.

    Args:
        graph_interactions: the edges of the graph, or the histories, and the positives of the loss.
        seen: items masked when ranking for validation; a superset of the edges.
        validation: the items to find.
        fixed_epochs: train as many epochs and select none, whatever `validation` holds; None selects one by it.
        catalogue: the items a loss may tell positives from, ascending [n]; None for all.
    """
    torch.manual_seed(seed)
    # One that follows from the graph alone is computed here, which cannot be cut short.
    with stops_after("this step", kept="the encoder starts again, the stages before it are kept"):
        folder = folder_of_edges(settings, len(graph_interactions), state_folder, device)
        encoder = make_encoder(InteractionGraph(graph_interactions, folder)).to(device)
    if settings.neighbours is not None:
        require_sampling(encoder, settings.encoder, settings.neighbours)
    task = _task_type(encoder, settings)(encoder, settings, graph_interactions, seen, validation, seed, catalogue)
    progress = train(
        task, settings.training, state_folder=state_folder, description=description, fixed_epochs=fixed_epochs
    )
    return PretrainedEncoder(encoder, embeddings_of(encoder, settings, graph_interactions), progress)


def _task_type(
    encoder: nn.Module, settings: GraphSettings
) -> type[SoftmaxTask | BprTask | NextItemSoftmaxTask | NextItemBprTask]:
    in_order = reads_histories(encoder)
    if settings.neighbours is not None:
        return SampledSoftmaxTask if settings.loss == "softmax" else SampledBprTask
    match settings.loss:
        case "softmax":
            return NextItemSoftmaxTask if in_order else SoftmaxTask
        case "bpr":
            return NextItemBprTask if in_order else BprTask
        case other:
            assert_never(other)


class SoftmaxTask(EncoderTask):
    """Every item of a user against the catalogue, or a sample of it, at a temperature.

    The logits of a user are <u/|u|, i/|i|> / τ or, where `unit_length` names users alone, <u/|u|, i> / τ.
    """

    def batches(self, epoch: int) -> Sequence[NDArray[np.int64]]:
        """Batches of user indices [B]; users without an edge are left out."""
        users = self.generator(epoch).permutation(np.flatnonzero(self.interactions.counts))
        size = self.settings.training.batch_size
        return [users[start : start + size] for start in range(0, len(users), size)]

    def loss(self, batch: NDArray[np.int64]) -> Tensor:
        user_vectors, item_vectors = self.module()  # [U, d], [I, d]
        chosen = torch.from_numpy(batch).to(self.device)
        users = F.normalize(F.embedding(chosen, user_vectors), dim=-1)  # [B, d]
        items = scaled_items(item_vectors, self.settings)
        positives = Positives(*(torch.from_numpy(part).to(self.device) for part in self.pairs(batch)))  # [P] each
        loss = catalogue_softmax_loss(
            users / self.settings.temperature,
            items,
            positives,
            sample=self.settings.softmax_items,
            draws=self.draws,
            among=self.among,
        )
        extra: Tensor = self.module.extra_loss(chosen[positives.rows], positives.items)
        return loss + extra

    def share(self, batch: NDArray[np.int64], rank: int, size: int) -> tuple[NDArray[np.int64], float]:
        """Every `size`-th user of a batch, counted by their items."""
        part, counts_for = dealt(len(batch), rank, size)
        counts = self.interactions.counts
        return batch[part], counts_for * float(counts[batch[part]].sum() / counts[batch].sum())

    def pairs(self, batch: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
        """All items of users [B]: the place of their user in the batch, the items, and weights if any, [P] each."""
        counts = self.interactions.counts[batch]
        rows = np.repeat(np.arange(len(batch)), counts)
        before = np.cumsum(counts) - counts  # pairs of the users before each user
        starts = self.interactions.indptr[batch] - before
        places = starts[rows] + np.arange(len(rows))
        weights = self.interactions.relative_weights
        return rows, self.interactions.items[places], *([] if weights is None else [weights[places]])


class BprTask(EncoderTask):
    """Each interaction against one item the user did not interact with."""

    @cached_property
    def sampler(self) -> NegativeSampler:
        return NegativeSampler(self.interactions, self.catalogue)

    def batches(self, epoch: int) -> Sequence[tuple[NDArray[Any], ...]]:
        """Batches of (users, positives, negatives), and of weights if there are any, [B] each."""
        generator = self.generator(epoch)
        order = generator.permutation(len(self.interactions))
        users, positives = self.interactions.users[order], self.interactions.items[order]
        negatives = self.sampler.draw(users, generator)
        size = self.settings.training.batch_size
        starts = range(0, len(order), size)
        weights = self.interactions.relative_weights
        columns: list[NDArray[Any]] = [users, positives, negatives, *([] if weights is None else [weights[order]])]
        return [tuple(column[s : s + size] for column in columns) for s in starts]

    def share(self, batch: tuple[NDArray[Any], ...], rank: int, size: int) -> tuple[tuple[NDArray[Any], ...], float]:
        """Every `size`-th pair of a batch."""
        part, counts_for = dealt(len(batch[0]), rank, size)
        own = tuple(column[part] for column in batch)
        return own, counts_for * len(own[0]) / len(batch[0])

    def loss(self, batch: tuple[NDArray[Any], ...]) -> Tensor:
        users, positives, negatives, *weights = (torch.from_numpy(part).to(self.device) for part in batch)
        items = torch.stack([positives, negatives])  # [2, B]
        user_vectors, item_vectors = self.module()
        loss = bpr_loss(F.embedding(users, user_vectors), *F.embedding(items, item_vectors), *weights)
        extra: Tensor = self.module.extra_loss(users, items)
        return loss + extra


class SampledSoftmaxTask(SoftmaxOnSamples, SoftmaxTask):
    """The same on samples of the graph."""


class SampledBprTask(BprOnSamples, BprTask):
    """The same on samples of the graph."""
