"""Histories as a sparse matrix."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from glta_cli.plugin import Interactions


def histories_of(interactions: Interactions) -> csr_array:
    """At the items of each user's history what they weigh, 1 where nothing else is said; float32 [U, I]."""
    weights = interactions.weights
    if weights is None:
        weights = np.ones(len(interactions), dtype=np.float32)
    shape = (interactions.user_count, interactions.item_count)
    return csr_array((weights, interactions.items, interactions.indptr), shape=shape)
