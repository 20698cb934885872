"""Histories as a sparse matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from glta_cli.plugin import Interactions

# Settings that scoring alone reads: what is fitted is the same whatever they are.
SCORING_SETTINGS = ("recency",)


def histories_of(interactions: Interactions, recency: float = 1.0) -> csr_array:
    """At the items of each user's history what they weigh, 1 where nothing else is said; float32 [U, I].

    Args:
        recency: r; an item weighs r^n of that, n the newer items of the same user.
    """
    weights = interactions.weights
    if weights is None:
        weights = np.ones(len(interactions), dtype=np.float32)
    if recency != 1:
        weights = weights * np.float32(recency) ** newer_items(interactions)
    shape = (interactions.user_count, interactions.item_count)
    return csr_array((weights, interactions.items, interactions.indptr), shape=shape)


def newer_items(interactions: Interactions) -> NDArray[np.float32]:
    """How many items of the same user's history come after each: float32 [n], along `items`."""
    ends = interactions.indptr[1:][interactions.users]
    return (ends - 1 - np.arange(len(interactions))).astype(np.float32)
