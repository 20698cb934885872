"""Interactions drawn at random, small enough that a component is checked on them in a moment."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from glta_cli.plugin.interactions import Interactions

USERS, ITEMS = 13, 17
LONELY_USER = 5
SHARE = 0.3
VECTOR_DIMENSIONS = 6


def lonely_item(item_count: int = ITEMS) -> int:
    """The item nobody met in training."""
    return item_count // 2


def draw_text_vectors(seed: int, item_count: int = ITEMS) -> NDArray[np.float32]:
    """What stage `encode-items` would give for a catalogue: float32 [I, D], of unit length."""
    vectors = np.random.default_rng(seed).standard_normal((item_count, VECTOR_DIMENSIONS), dtype=np.float32)
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def draw_split(seed: int, item_count: int = ITEMS) -> tuple[Interactions, Interactions]:
    """Training and validation interactions of 13 users: some three tenths of the catalogue, and one item, a user.

    `LONELY_USER` has neither, and `lonely_item` stands in no training history.
    """
    chance = np.random.default_rng(seed).random((USERS, item_count))
    chance[:, lonely_item(item_count)] = 0.5
    met = chance <= np.maximum(SHARE, chance.min(axis=1, keepdims=True))
    met[LONELY_USER] = False
    users, items = np.nonzero(met)
    others = np.delete(np.arange(USERS), LONELY_USER)
    return (
        Interactions.from_pairs(users, items, user_count=USERS, item_count=item_count),
        Interactions.from_pairs(others, chance[others].argmax(axis=1), user_count=USERS, item_count=item_count),
    )
