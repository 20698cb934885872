"""Histories as a sparse matrix."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from glta_cli.plugin import Interactions


def binary_histories(interactions: Interactions) -> csr_array:
    """1 at the items of each user's history, float32 [U, I]."""
    ones = np.ones(len(interactions), dtype=np.float32)
    shape = (interactions.user_count, interactions.item_count)
    return csr_array((ones, interactions.items, interactions.indptr), shape=shape)
