"""Implicit alternating least squares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from numpy.typing import NDArray
from scipy.sparse import csr_array, csr_matrix
from threadpoolctl import threadpool_limits

from glta_baselines.histories import SCORING_SETTINGS, histories_of
from glta_baselines.settings import IalsSettings
from glta_cli.plugin import BaselineData, Interactions, Scorer, VectorTerm, product_scorer

START_SPREAD = 0.1


class Ials:
    """Factors of users and items that fit every pair: those met to 1, with more weight, and all others to 0.

    score[u, i] = <x_u, y_i>,  x, y minimising Σ_{u,i} c[u, i] (X[u, i] - <x_u, y_i>)² + λ (Σ_u |x_u|² + Σ_i |y_i|²),
    c = 1 + α W, X the binary histories [U, I], W their weights, or X where there are none. Users and items are solved
    for in turn, exactly, from normal noise of standard deviation 0.1/√d. A user with another history than the one that
    was fitted is solved for once more, the items as they are; so is everyone where `recency` is below 1 and older items
    count for less, c = 1 + α r^n W with n the user's newer items.

    Source: Hu, Koren and Volinsky, Collaborative Filtering for Implicit Feedback Datasets, ICDM 2008, equations 3 to 5;
    the noise from Rendle et al., Revisiting the Performance of iALS on Item Recommendation Benchmarks, RecSys 2022,
    whose λ that grows with the length of a history is not implemented.
    """

    scoring_settings = SCORING_SETTINGS
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

    def fold_in(
        self, learnt: Mapping[str, NDArray[Any]], train: Interactions, histories: Interactions
    ) -> dict[str, NDArray[Any]]:
        """`users` with x of those whose history is another one now, and `items` as they are."""
        if self.settings.recency != 1:
            return dict(learnt)  # everyone is solved for when scored
        now = histories_of(histories)
        difference = (now - histories_of(train)).tocsr()
        difference.eliminate_zeros()
        changed = np.flatnonzero(np.diff(difference.indptr))
        users = learnt["users"].copy()
        users[changed] = self.solved(learnt["items"], now, changed)
        return {**learnt, "users": users}

    def scorer(self, learnt: Mapping[str, NDArray[Any]], train: Interactions) -> Scorer:
        if self.settings.recency == 1:
            return product_scorer(learnt["users"], learnt["items"])
        items = learnt["items"]
        histories, columns = histories_of(train, self.settings.recency), np.ascontiguousarray(items.T)
        return lambda users: self.solved(items, histories, users) @ columns  # [B, I]

    def term(self, learnt: Mapping[str, NDArray[Any]], histories: Interactions) -> VectorTerm:
        users, items = learnt["users"], learnt["items"]
        if self.settings.recency != 1:
            older = histories_of(histories, self.settings.recency)
            users = self.solved(items, older, np.arange(histories.user_count))
        return VectorTerm(users, items)

    def solved(self, items: NDArray[np.float32], histories: csr_array, users: NDArray[np.int64]) -> NDArray[np.float32]:
        """The factors of users [n] that fit their histories [U, I] best, given those of the items [I, d]: [n, d].

        x_u = (Y^T Y + Y^T (C_u - 1) Y + λ I)^-1 Y^T C_u p_u, exactly.

        Source: Hu et al., equation 4.
        """
        factors = items.astype(np.float64)
        everything = factors.T @ factors + self.settings.regularization * np.eye(items.shape[1])  # [d, d]
        found = np.zeros((len(users), items.shape[1]), dtype=np.float32)
        for row, user in enumerate(users):
            met = slice(histories.indptr[user], histories.indptr[user + 1])
            own = factors[histories.indices[met]]  # [m, d]
            beyond = self.settings.alpha * histories.data[met].astype(np.float64)  # C_u - 1 [m]
            found[row] = np.linalg.solve(everything + own.T @ (beyond[:, None] * own), own.T @ (1 + beyond))
        return found
