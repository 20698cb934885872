"""Implicit alternating least squares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from glta_baselines.histories import histories_of
from glta_baselines.settings import IalsSettings
from glta_cli.plugin import BaselineData, Interactions, Scorer, product_scorer

START_SPREAD = 0.1


class Ials:
    """Factors of users and items that fit every pair: those met to 1, with more weight, and all others to 0.

    score[u, i] = <x_u, y_i>,  x, y minimising Σ_{u,i} c[u, i] (X[u, i] - <x_u, y_i>)² + λ (Σ_u |x_u|² + Σ_i |y_i|²),
    c = 1 + α W, X the binary histories [U, I], W their weights, or X where there are none. Users and items are solved
    for in turn, exactly, from normal noise of standard deviation 0.1/√d.

    Source: Hu, Koren and Volinsky, Collaborative Filtering for Implicit Feedback Datasets, ICDM 2008, equations 3 to 5;
    the noise from Rendle et al., Revisiting the Performance of iALS on Item Recommendation Benchmarks, RecSys 2022,
    whose λ that grows with the length of a history is not implemented.
    """

    uses_weights = True

    def __init__(self, settings: IalsSettings) -> None:
        self.settings = settings

    def fit(self, data: BaselineData) -> dict[str, NDArray[Any]]:
        """`users`, x, float32 [U, d], and `items`, y, float32 [I, d]."""
        histories = histories_of(data.train)
        confidences = csr_matrix(histories * np.float32(1 + self.settings.alpha))
        if data.train.weights is not None:
            confidences.data = 1 + np.float32(self.settings.alpha) * histories.data
        # Its own threads each call BLAS, which with more threads of its own would hold them up; it warns of that.
        with threadpool_limits(limits=1, user_api="blas"):
            model = AlternatingLeastSquares(
                factors=self.settings.dimension,
                regularization=self.settings.regularization,
                alpha=1.0,  # a factor of all confidences there, where the paper adds 1
                iterations=self.settings.iterations,
                use_cg=False,
            )
            model.user_factors, model.item_factors = self.start(data.train.user_count, data.train.item_count, data.seed)
            model.fit(confidences, show_progress=False)
        return {"users": model.user_factors, "items": model.item_factors}

    def start(self, user_count: int, item_count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The noise that users [U, d] and items [I, d] start from; that of users is replaced at the first step."""
        generator = np.random.default_rng(seed)
        spread = np.float32(START_SPREAD / np.sqrt(self.settings.dimension))
        users, items = (
            spread * generator.standard_normal((count, self.settings.dimension), dtype=np.float32)
            for count in (user_count, item_count)
        )
        return users, items

    def scorer(self, learnt: Mapping[str, NDArray[Any]], train: Interactions) -> Scorer:
        return product_scorer(learnt["users"], learnt["items"])
