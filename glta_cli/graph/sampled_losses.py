"""Losses of stage 1 on samples of the graph: what a batch needs is embedded, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from glta_cli.graph.encoder_task import EncoderTask
from glta_cli.graph.neighbours import NeighbourSampler
from glta_cli.training.item_draws import Drawn, draw_items
from glta_cli.training.losses import Positives, bpr_loss, catalogue_softmax_loss


class OnSamples(EncoderTask):
    """An encoder that is trained on samples of its graph; validation takes all of it."""

    @cached_property
    def neighbours(self) -> NeighbourSampler:
        return NeighbourSampler(self.module.graph, self.settings.neighbours or ())

    def embedded(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors of users [n] and of items [m], which may repeat: [n, d] and [m, d], from one sample."""
        nodes = torch.cat([users, items + self.interactions.user_count])
        distinct, places = nodes.unique(return_inverse=True)
        vectors = self.module.of_sample(self.neighbours.sample(distinct))  # [distinct, d]
        of_users, of_items = F.embedding(places, vectors).split([len(users), len(items)])
        return of_users, of_items


class SoftmaxOnSamples(OnSamples):
    """The loss of `SoftmaxTask`, against as many items as `softmax_items` says.

    Attributes:
        pairs: of the task it is put before, the positives of a batch.
    """

    pairs: Callable[[NDArray[np.int64]], tuple[NDArray[Any], ...]]

    def loss(self, batch: NDArray[np.int64]) -> Tensor:
        chosen = torch.from_numpy(batch).to(self.device)  # [B]
        positives = Positives(*(torch.from_numpy(part).to(self.device) for part in self.pairs(batch)))  # [P] each
        drawn = self._drawn()  # [S]
        items = torch.cat([positives.items, drawn.items])
        users, vectors = self.embedded(chosen, items)  # [B, d], [P + S, d]
        # A catalogue in which the items of no use to this batch are zeros.
        catalogue = vectors.new_zeros(self.interactions.item_count, vectors.shape[1])  # [I, d]
        catalogue = catalogue.index_copy(0, *_each_once(items, vectors))
        loss = catalogue_softmax_loss(
            F.normalize(users, dim=-1) / self.settings.temperature,
            catalogue,
            positives,
            among=self.among,
            drawn=drawn,
            scaled=self.scaled,
        )
        extra: Tensor = self.module.extra_loss(chosen[positives.rows], positives.items)
        return loss + extra

    def _drawn(self) -> Drawn:
        """What a batch is told from, of the whole catalogue's items."""
        among = self.among
        size = self.interactions.item_count if among is None else len(among)
        count = min(self.settings.softmax_items or size, size)
        # Draws with replacement would miss some of a catalogue that is no larger: all of it is exact.
        drawn = draw_items(count, size, self.draws if count < size else None, self.device)
        return drawn if among is None else Drawn(among[drawn.items], drawn.correction)


class BprOnSamples(OnSamples):
    """The loss of `BprTask`."""

    def loss(self, batch: tuple[NDArray[Any], ...]) -> Tensor:
        users, positives, negatives, *weights = (torch.from_numpy(part).to(self.device) for part in batch)
        items = torch.stack([positives, negatives])  # [2, B]
        of_users, of_items = self.embedded(users, items.flatten())  # [B, d], [2B, d]
        loss = bpr_loss(of_users, *of_items.view(2, len(users), -1), *weights)
        extra: Tensor = self.module.extra_loss(users, items)
        return loss + extra


def _each_once(items: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Distinct items [n] and their vectors [n, d], of items [m] that may repeat with the same vector."""
    distinct, places = items.unique(return_inverse=True)
    first = torch.empty_like(distinct).scatter_(0, places, torch.arange(len(items), device=items.device))
    return distinct, F.embedding(first, vectors)
