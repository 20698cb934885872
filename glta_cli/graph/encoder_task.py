"""What every task of stage 1 shares: an encoder, its data, and validation by full ranking."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from glta_cli.core.errors import GltaError
from glta_cli.graph.embeddings import embeddings_of
from glta_cli.plugin.interactions import Interactions
from glta_cli.ranking.metrics import ranking_metrics
from glta_cli.ranking.selection import SELECTION_METRIC
from glta_cli.ranking.top_k import rank_users
from glta_cli.recipe.schema import GraphSettings
from glta_cli.training.item_draws import ItemDraws


def validation_users(validation: Interactions) -> NDArray[np.int64]:
    """Users with something to find.

    Raises:
        GltaError: there is none.
    """
    users = np.flatnonzero(validation.counts)
    if not len(users):
        raise GltaError(
            "no user has a validation item, so no epoch can be selected",
            hint="prepare with a larger validation share",
        )
    return users


class EncoderTask:
    """An encoder, its data, and validation by full ranking."""

    metric = SELECTION_METRIC

    def __init__(
        self,
        encoder: nn.Module,
        settings: GraphSettings,
        interactions: Interactions,
        seen: Interactions,
        validation: Interactions,
        seed: int,
        catalogue: NDArray[np.int64] | None = None,
    ) -> None:
        """Positives are told from items of the `catalogue` alone, ascending [n]; None for all."""
        self.module: Any = encoder
        self.settings = settings
        self.interactions = interactions
        self.seen = seen
        self.validation = validation
        users = np.random.default_rng((seed, 0, 1)).permutation(validation_users(validation))
        self.validation_users = np.sort(users[: settings.validation_users])
        self.seed = seed
        self.device = next(encoder.parameters()).device
        self.catalogue = catalogue

    @property
    def among(self) -> Tensor | None:
        """The catalogue where the encoder is."""
        return None if self.catalogue is None else torch.from_numpy(self.catalogue).to(self.device)

    @cached_property
    def draws(self) -> ItemDraws | None:
        """Of the catalogue, for a softmax over a sample; None where it is drawn uniformly."""
        if self.settings.softmax_sampling == "uniform":
            return None
        counts = np.bincount(self.interactions.items, minlength=self.interactions.item_count)
        return ItemDraws(counts if self.catalogue is None else counts[self.catalogue])

    def generator(self, epoch: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, epoch))

    def validate(self) -> dict[str, float]:
        score = embeddings_of(self.module, self.settings, self.interactions, self.validation_users).scorer()
        ranked = rank_users(score, self.validation_users, 10, self.seen)
        values = ranking_metrics(ranked, self.validation_users, self.validation, [10])
        return {name: float(values[name].mean()) for name in (SELECTION_METRIC, "recall@10")}
