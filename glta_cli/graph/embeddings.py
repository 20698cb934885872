"""What a trained encoder says of users and items: vectors whose dot product is the score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from glta_cli.graph.histories import reads_histories, user_states
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.scorer import Scorer, product_scorer
from glta_cli.recipe.schema import GraphSettings
from glta_cli.training.row_blocks import by_row_blocks


@dataclass(frozen=True)
class Embeddings:
    """What an encoder publishes: float32 users [U, d] and items [I, d]; their dot product is the score."""

    users: NDArray[np.float32]
    items: NDArray[np.float32]

    def scorer(self) -> Scorer:
        return product_scorer(self.users, self.items)


def embeddings_of(
    encoder: nn.Module,
    settings: GraphSettings,
    histories: Interactions,
    users: NDArray[np.int64] | None = None,
) -> Embeddings:
    """Embeddings in the geometry the loss was trained in: scaled as the softmax has them, as they are for bpr.

    Args:
        histories: what a sequence encoder reads of each user; a graph encoder has its own graph.
        users: those a sequence encoder is asked for; None for everyone. The vectors of others mean nothing.
    """
    with torch.no_grad():
        found = _of_histories(encoder, histories, users) if reads_histories(encoder) else encoder()
        user_vectors, items = found
        if settings.loss == "softmax":
            user_vectors, items = F.normalize(user_vectors, dim=-1), scaled_items(items, settings)
    # An encoder may return its parameters themselves.
    return Embeddings(user_vectors.detach().float().cpu().numpy(), items.detach().float().cpu().numpy())


def scaled_items(items: Tensor, settings: GraphSettings) -> Tensor:
    """Item vectors [I, d] as the softmax takes them."""
    return by_row_blocks(F.normalize, items) if settings.unit_length == "both" else items


def _of_histories(
    encoder: nn.Module, histories: Interactions, users: NDArray[np.int64] | None
) -> tuple[Tensor, Tensor]:
    """Users [U, d] and items [I, d] of a sequence encoder; a user without an item is as the mean of the others."""
    states = user_states(encoder, histories, users)
    known = histories.counts > 0
    if users is not None:
        asked = np.zeros_like(known)
        asked[users] = True
        known &= asked
    if known.any() and not known.all():
        there = torch.from_numpy(known).to(states.device)
        states[~there] = states[there].mean(dim=0)
    items: Tensor = encoder.items()  # type: ignore[operator]
    return states, items
