"""Popularity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glta_baselines.settings import NoSettings
from glta_cli.plugin import BaselineData, Interactions, Scorer, VectorTerm


class Popularity:
    """score[u, i] = what the training interactions of item i weigh together, the same for every user.

    Without weights that is their number.
    """

    uses_seed = False
    uses_weights = True

    def __init__(self, settings: NoSettings) -> None:
        self.settings = settings

    def fit(self, data: BaselineData) -> dict[str, NDArray[Any]]:
        """`counts`, float32 [I]."""
        counts = np.bincount(data.train.items, data.train.weights, minlength=data.train.item_count)
        return {"counts": counts.astype(np.float32)}

    def scorer(self, learnt: Mapping[str, NDArray[Any]], train: Interactions) -> Scorer:
        return lambda users: np.tile(learnt["counts"], (len(users), 1))  # [B, I]

    def term(self, learnt: Mapping[str, NDArray[Any]], histories: Interactions) -> VectorTerm:
        """Nothing of a user: vectors of no dimension, and a bias."""
        users, items = (
            np.empty((count, 0), dtype=np.float32) for count in (histories.user_count, histories.item_count)
        )
        return VectorTerm(users, items, learnt["counts"])
