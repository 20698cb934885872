"""Stage 1 for encoders that read histories: every item is predicted from those before it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from glta_cli.core.errors import GltaError
from glta_cli.graph.embeddings import scaled_items
from glta_cli.graph.encoder_task import EncoderTask
from glta_cli.graph.histories import Stretches, next_items
from glta_cli.graph.negatives import NegativeSampler
from glta_cli.training.data_parallel import dealt
from glta_cli.training.losses import Positives, bpr_loss, catalogue_softmax_loss

# Batches whose stretches are sorted by length before they are cut: less of a batch is padding.
SORTED_TOGETHER = 16


class _NextItemTask(EncoderTask):
    """What both losses share: the stretches of histories, and how they are dealt into batches.

    A batch of long stretches holds more items to predict than one of short ones: its loss is weighed by how many, so
    that every item counts the same in the sum over an epoch.
    """

    @cached_property
    def stretches(self) -> Stretches:
        found = next_items(self.interactions, self.module.longest_history())
        if not len(found):
            raise GltaError(
                "no user has two training items, so there is no next item to learn from",
                hint="an encoder that reads no histories needs none: --set graph.encoder=lightgcn",
            )
        return found

    @cached_property
    def weights(self) -> NDArray[np.float32] | None:
        """What predicting each interaction counts for, along them, with a mean of 1 over the predicted ones."""
        weights = self.interactions.weights
        if weights is None:
            return None
        predicted = np.ones(len(weights), dtype=bool)
        predicted[self.interactions.indptr[:-1][self.interactions.counts > 0]] = False
        return weights / np.float32(weights[predicted].mean(dtype=np.float64))

    def dealt(self, generator: np.random.Generator) -> list[Stretches]:
        """All stretches in random order, a batch each, those of a batch of about equal length."""
        order = generator.permutation(len(self.stretches))
        size = self.settings.training.batch_size
        pool = size * SORTED_TOGETHER
        for start in range(0, len(order), pool):
            part = order[start : start + pool]
            order[start : start + pool] = part[np.argsort(self.stretches.lengths[part], kind="stable")]
        batches = [self.stretches.at(order[start : start + size]) for start in range(0, len(order), size)]
        return [batches[place] for place in generator.permutation(len(batches))]

    def encoded(self, batch: Stretches) -> tuple[Tensor, NDArray[np.bool_]]:
        """The states that items are predicted from, [P, d], and where in the rows of a batch they stand, [B, L]."""
        inputs = batch.earlier().rows(self.interactions.items)  # [B, L]
        held = inputs >= 0
        states = self.module.encode(torch.from_numpy(inputs).to(self.device))  # [B, L, d]
        return states[torch.from_numpy(held).to(self.device)], held

    def along(self, batch: Stretches, values: NDArray[Any], held: NDArray[np.bool_]) -> Tensor:
        """Of values along the interactions those of a batch's items, [P]."""
        return torch.from_numpy(batch.rows(values)[held]).to(self.device)

    def of_mean_batch(self, predicted: int) -> float:
        """How much of a mean batch one is that predicts so many items."""
        batches = -(-len(self.stretches) // self.settings.training.batch_size)
        return predicted * batches / float(self.stretches.lengths.sum())


class NextItemSoftmaxTask(_NextItemTask):
    """Every item of a history but the first against the catalogue, or a sample of it, given those before it.

    loss = mean over users u and places t > 1 of -log softmax_i(<s[u, t-1], i> / τ) at the item at t,

    with s the encoder's state, of unit length, and item vectors of unit length too unless `unit_length` names users
    alone.

    Source: Kang and McAuley, Self-Attentive Sequential Recommendation, ICDM 2018, for the task; Klenitskiy and
    Vasilev, Turning Dross Into Gold Loss: is BERT4Rec really better than SASRec?, RecSys 2023, for the cross-entropy.
    """

    def batches(self, epoch: int) -> Sequence[Stretches]:
        return self.dealt(self.generator(epoch))

    def share(self, batch: Stretches, rank: int, size: int) -> tuple[Stretches, float]:
        """Every `size`-th stretch; the loss weighs each by how many items it predicts, so that losses add up."""
        part, counts_for = dealt(len(batch), rank, size)
        return batch.at(np.arange(len(batch))[part]), float(counts_for)

    def loss(self, batch: Stretches) -> Tensor:
        states, held = self.encoded(batch)  # [P, d]
        queries = F.normalize(states, dim=-1) / self.settings.temperature
        weights = [] if self.weights is None else [self.along(batch, self.weights, held)]
        rows = torch.arange(len(queries), device=self.device)
        positives = Positives(rows, self.along(batch, self.interactions.items, held), *weights)
        items = scaled_items(self.module.items(), self.settings)  # [I, d]
        sample = self.settings.softmax_items
        loss = catalogue_softmax_loss(queries, items, positives, sample=sample, draws=self.draws, among=self.among)
        return self.of_mean_batch(len(queries)) * loss


class NextItemBprTask(_NextItemTask):
    """Every item of a history but the first against one the user did not interact with, given those before it.

    Source: Kang and McAuley, ICDM 2018, section III-E, with the pairwise loss in place of the binary cross-entropy.
    """

    @cached_property
    def sampler(self) -> NegativeSampler:
        return NegativeSampler(self.interactions, self.catalogue)

    def batches(self, epoch: int) -> Sequence[tuple[Stretches, NDArray[np.int64]]]:
        """Batches, each with the epoch's negatives along all interactions."""
        generator = self.generator(epoch)
        negatives = self.sampler.draw(self.interactions.users, generator)
        return [(batch, negatives) for batch in self.dealt(generator)]

    def share(
        self, batch: tuple[Stretches, NDArray[np.int64]], rank: int, size: int
    ) -> tuple[tuple[Stretches, NDArray[np.int64]], float]:
        """Every `size`-th stretch; the loss weighs each by how many items it predicts, so that losses add up."""
        stretches, drawn = batch
        part, counts_for = dealt(len(stretches), rank, size)
        return (stretches.at(np.arange(len(stretches))[part]), drawn), float(counts_for)

    def loss(self, batch: tuple[Stretches, NDArray[np.int64]]) -> Tensor:
        stretches, drawn = batch
        states, held = self.encoded(stretches)  # [P, d]
        pair = torch.stack([self.along(stretches, each, held) for each in (self.interactions.items, drawn)])  # [2, P]
        weights = [] if self.weights is None else [self.along(stretches, self.weights, held)]
        loss = bpr_loss(states, *F.embedding(pair, self.module.items()), *weights)
        return self.of_mean_batch(len(states)) * loss
