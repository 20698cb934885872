"""ELSA with item texts: the directions of the text vectors are learnt from as users are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glta_baselines.elsa import SEED, TINY, Elsa, ElsaTask, Weights
from glta_baselines.settings import ElsaTextSettings
from glta_cli.plugin import BaselineData, GltaError

# Directions a step, at most, so that what is dense stays small; and the rows of [I] that each of them takes in a step.
MOST_DIRECTIONS, ROWS_A_DIRECTION = 32, 12

UsersAndDirections = tuple[NDArray[np.int64], NDArray[np.int64]]


class ElsaText(Elsa):
    """ELSA in which every direction of the text vectors is one more user, as in EASE with item texts.

    The histories X are stacked on a·T^T, T the text vectors of unit length [I, D]. A user counts as one for ELSA,
    however long the history is; a direction r, a column of a·T, counts for as many users as |r|² is of the mean |x|²,
    which is its share of what EASE with item texts minimises. What is minimised is the mean over users of 1 - cos(x, p)
    and the sum over directions of (a² |r|² / Σ |x|²) (1 - cos(r, p)).

    The directions are dealt out to the steps of a pass as users are, so that few of them, [I] each and dense, are in
    memory at a time. An item that nobody met has the weights that its text earns.

    Source: Vančura et al., RecSys 2022, equation 5, with side information stacked as in Jeunen, Van Balen and Goethals,
    Closed-Form Models for Collaborative Filtering with Side-Information, RecSys 2020.
    """

    name: ClassVar[str] = "elsa-text"
    needs_text_vectors = True

    settings: ElsaTextSettings

    def bytes_to_fit(self, user_count: int, item_count: int) -> int:
        """Of memory: what ELSA takes, and the rows of the directions of a step; the text vectors are there already."""
        rows = MOST_DIRECTIONS * ROWS_A_DIRECTION
        return super().bytes_to_fit(user_count, item_count) + 4 * item_count * rows

    def task(self, data: BaselineData) -> ElsaTask:
        if data.text_vectors is None:
            raise GltaError(f"{self.name} needs the vectors of item texts")
        return ElsaTextTask(data, data.text_vectors, self.settings)


class ElsaTextTask(ElsaTask):
    """What ELSA minimises for users, and for the directions of the text vectors.

    With z = r t and h = z A, p is (h A^T - z) s, so that <r, p> = <(r s) A, h> - Σ r s z and
    |p|² = h G h^T - 2 <(z s²) A, h> + Σ z² s²: three products of rows [I] with A for each direction, and no prediction.

    Args:
        texts: T, float32 [I, D].
    """

    def __init__(self, data: BaselineData, texts: NDArray[np.float32], settings: ElsaTextSettings) -> None:
        self.texts, self.text_weight = texts, settings.text_weight
        super().__init__(data, settings)
        lengths = np.square(texts, dtype=np.float64).sum(axis=0)  # |r|² [D]
        squares = float(np.square(self.histories.data, dtype=np.float64).sum())
        self.counts_for = torch.from_numpy(settings.text_weight**2 * lengths / max(squares, TINY)).float()  # [D]

    def batches(self, epoch: int) -> Sequence[UsersAndDirections]:  # type: ignore[override]
        """User indices [B] and directions [n] of each step: every direction once a pass, where there is room."""
        users = super().batches(epoch)
        count = self.texts.shape[1]
        order = np.random.default_rng((SEED, epoch, 1)).permutation(count)
        size = min(MOST_DIRECTIONS, -(-count // max(1, len(users)))) if self.text_weight else 0
        return [(batch, order[(step * size + np.arange(size)) % count]) for step, batch in enumerate(users)]

    def loss(self, batch: UsersAndDirections) -> Tensor:  # type: ignore[override]
        users, directions = batch
        weights = self.weights()
        if not len(directions):
            return self.user_loss(users, weights)
        # Those of the step stand for all of them.
        of_texts = self.texts.shape[1] / len(directions) * self.direction_loss(directions, weights)
        return self.user_loss(users, weights) + of_texts

    def direction_loss(self, directions: NDArray[np.int64], weights: Weights) -> Tensor:
        """The sum of 1 - cos(r, p) over directions [n], each times what it counts for."""
        # Of the vectors as they lie, those of these directions: turned round, all of them would be there twice.
        r = torch.from_numpy(np.ascontiguousarray(self.texts[:, directions].T)).to(self.device)  # [n, I]
        z = r * weights.source_scale  # [n, I]
        own = z * weights.scale  # z s [n, I]
        products = torch.cat([z, r * weights.scale, own * weights.scale]) @ weights.factors  # [3 n, d]
        sums, wanted, own_products = products.chunk(3)  # h, (r s) A and (z s²) A, [n, d] each
        likeness = (wanted * sums).sum(-1) - (r * own).sum(-1)  # <r, p> [n]
        lengths = ((sums @ weights.gram - 2 * own_products) * sums).sum(-1) + own.square().sum(-1)  # |p|² [n]
        cosines = likeness / (r.square().sum(-1) * lengths.clamp_min(TINY)).clamp_min(TINY).sqrt()
        return (self.counts_for[torch.from_numpy(directions)].to(self.device) * (1 - cosines)).sum()

    def start(self, size: int) -> Tensor:
        """What the texts say of each item and as much at random, [I, d]: half the passes of a start at random."""
        start = super().start(size)
        if self.text_weight:
            first = torch.from_numpy(self.texts[:, :size])  # those in which texts differ most, [I, min(D, d)]
            start[:, : first.shape[1]] += first
        return start

    def known_items(self) -> NDArray[np.bool_]:
        """Items that somebody met or that a text is written about, [I]."""
        met = super().known_items()
        return met | self.texts.any(axis=1) if self.text_weight else met
