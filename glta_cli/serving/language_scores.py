"""The language model's term: what was read out of it for every user, as vectors whose products are scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.scorer import Scorer
from glta_cli.ranking.top_k import mask_seen


class LanguageScores:
    """Item scores from the rows read out of the language model.

    Args:
        rows: [U, R, D], one query for each row of the list; R = 1 ranks the catalogue by the first row.
        items: [I, D].
        bias: [I].
    """

    def __init__(self, rows: NDArray[np.float32], items: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        self.rows = rows
        self.columns = np.ascontiguousarray(items.T)  # [D, I], read in order by the product of a block
        self.bias = bias

    def scorer(self, *seen: Interactions) -> Scorer:
        """Scores of the first row; with several rows, row t's best item not in `seen` and not yet taken is t-th."""

        def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
            first = self._scores(users, 0)
            return first if self.rows.shape[1] == 1 else self._with_rows_on_top(first, users, seen)

        return score

    def _scores(self, users: NDArray[np.int64], row: int) -> NDArray[np.float32]:
        scores: NDArray[np.float32] = self.rows[users, row] @ self.columns
        scores += self.bias
        return scores

    def _with_rows_on_top(
        self, first: NDArray[np.float32], users: NDArray[np.int64], seen: tuple[Interactions, ...]
    ) -> NDArray[np.float32]:
        everyone = np.arange(len(users))
        result = first.copy()
        ceiling = first.max(axis=1)
        count = min(self.rows.shape[1], len(self.bias))
        taken = np.empty((len(users), count), dtype=np.int64)
        for row in range(count):
            scores = self._scores(users, row) if row else first
            mask_seen(scores, users, *seen)
            scores[everyone[:, None], taken[:, :row]] = -np.inf
            taken[:, row] = scores.argmax(axis=1)
            result[everyone, taken[:, row]] = ceiling + count - row
        return result
