"""Items a user has no interaction with, drawn for a whole epoch at once."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from glta_cli.plugin.interactions import Interactions

# Marks of the filter, a byte each, for every known pair: one draw in sixteen, at most, is looked up in vain.
MARKS_A_PAIR = 16
# A power of two: 256 MiB. From 16 million pairs on, more draws are looked up in vain instead.
MOST_MARKS = 1 << 28
# 2^64 divided by the golden ratio: multiples of it, cut to their highest bits, are spread evenly.
GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)


class NegativeSampler:
    """Draws until nothing drawn is known; a draw is checked against all interactions, by its key user·I + item.

    Most draws pass a filter of one hash and are done; the few that do not are searched among the sorted keys.

    Source: Bloom, Space/time trade-offs in hash coding, CACM 1970; Knuth, TAOCP 3, 6.4 (Fibonacci hashing).
    """

    def __init__(self, interactions: Interactions, among: NDArray[np.int64] | None = None) -> None:
        """Items `among` these alone are drawn, [n], all of `interactions` among them; None for all."""
        self.width = interactions.item_count
        self.among = among
        catalogue = self.width if among is None else len(among)
        self.complete = interactions.counts >= catalogue  # [U], users who know the whole catalogue
        self.known = np.sort(interactions.users * self.width + interactions.items)  # [n]
        wanted = MARKS_A_PAIR * max(1, len(self.known))
        bits = math.ceil(math.log2(min(wanted, MOST_MARKS)))
        self.shift = np.uint64(64 - bits)
        self.marks = np.zeros(1 << bits, dtype=bool)
        self.marks[self._slots(self.known)] = True

    def draw(self, users: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
        """For each user [n], an item it has no interaction with, uniformly: [n].

        A user who has interacted with the whole catalogue gets an arbitrary item.
        """
        negatives = self._some(len(users), generator)
        pending = self._known_among(users, negatives)
        pending = pending[~self.complete[users[pending]]]
        while len(pending):
            negatives[pending] = self._some(len(pending), generator)
            pending = pending[self._known_among(users[pending], negatives[pending])]
        return negatives

    def _some(self, count: int, generator: np.random.Generator) -> NDArray[np.int64]:
        if self.among is None:
            return generator.integers(0, self.width, count)
        return self.among[generator.integers(0, len(self.among), count)]

    def _known_among(self, users: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.int64]:
        """The positions of the pairs that are known interactions."""
        keys = users * self.width
        keys += items
        suspects = np.flatnonzero(self.marks[self._slots(keys)])
        # In order, neighbouring searches end in the same cache lines.
        suspects = suspects[np.argsort(keys[suspects])]
        places = np.searchsorted(self.known, keys[suspects])
        places = np.minimum(places, len(self.known) - 1)
        found: NDArray[np.int64] = suspects[self.known[places] == keys[suspects]]
        return found

    def _slots(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        slots = keys.view(np.uint64) * GOLDEN_RATIO
        slots >>= self.shift
        return slots.view(np.int64)
