"""Popularity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glta_baselines.settings import NoSettings
from glta_cli.plugin import BaselineData, Interactions, Scorer


class Popularity:
    """score[u, i] = the number of training interactions of item i, the same for every user."""

    uses_seed = False

    def __init__(self, settings: NoSettings) -> None:
        self.settings = settings

    def fit(self, data: BaselineData) -> dict[str, NDArray[Any]]:
        """`counts`, float32 [I]."""
        counts = np.bincount(data.train.items, minlength=data.train.item_count)
        return {"counts": counts.astype(np.float32)}

    def scorer(self, learnt: Mapping[str, NDArray[Any]], train: Interactions) -> Scorer:
        return lambda users: np.tile(learnt["counts"], (len(users), 1))  # [B, I]
