"""The k-core of a log: its largest part in which every user and every item has at least k interactions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from glta_cli.data.codes import counts_of, looked_up


def kcore_mask(users: NDArray[np.integer], items: NDArray[np.integer], k: int) -> NDArray[np.bool_]:
    """Which interactions are left when users and items with fewer than `k` are removed until none is.

    Args:
        users: user indices [n].
        items: item indices [n].

    Returns:
        bool [n]; the largest set in which every user and every item has at least `k` interactions.
    """
    kept = np.ones(len(users), dtype=bool)
    if k <= 1:
        return kept
    user_counts, item_counts = counts_of(users), counts_of(items)
    remaining = len(users)
    rows: NDArray[np.uint32] | None = None  # places of what is looked at; None while it is all
    inside = np.ones(len(users), dtype=bool)
    while True:
        too_few = looked_up(user_counts < k, users)
        too_few |= looked_up(item_counts < k, items)
        too_few &= inside
        leaving = np.flatnonzero(too_few)
        if not len(leaving):
            return kept
        inside[leaving] = False
        kept[leaving if rows is None else rows[leaving]] = False
        remaining -= len(leaving)
        user_counts -= np.bincount(users[leaving], minlength=len(user_counts))
        item_counts -= np.bincount(items[leaving], minlength=len(item_counts))
        if 2 * remaining < len(inside):
            # The many rounds that take only a few rows need not look at those that left long ago.
            staying = np.flatnonzero(inside)
            rows = staying.astype(np.uint32) if rows is None else rows[staying]
            users, items, inside = users[staying], items[staying], inside[staying]
