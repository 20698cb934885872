"""Item-item weights of low rank, as two factors: exact, in memory of items times factors instead of pairs of items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass(frozen=True, eq=False)
class ItemFactors:
    """B = L R^T - diag(o), [I, I], which is never made.

    Attributes:
        sources: L, float32 [I, d].
        targets: R, float32 [I, d].
        own: o, float32 [I].
    """

    sources: NDArray[np.float32]
    targets: NDArray[np.float32]
    own: NDArray[np.float32]

    @property
    def item_count(self) -> int:
        return len(self.targets)

    def weighted_sum(self, items: NDArray[np.int64], shares: NDArray[np.float32]) -> NDArray[np.float32]:
        """The rows of some items [n], each times its share [n], added up: [I]."""
        total: NDArray[np.float32] = self.targets @ (shares @ self.sources[items])
        np.subtract.at(total, items, shares * self.own[items])
        return total

    def scores(self, histories: csr_array) -> NDArray[np.float32]:
        """Rows of histories [B, I] times B: [B, I]."""
        scores: NDArray[np.float32] = (histories @ self.sources) @ self.targets.T
        rows = np.repeat(np.arange(histories.shape[0]), np.diff(histories.indptr))
        np.subtract.at(scores, (rows, histories.indices), histories.data * self.own[histories.indices])
        return scores

    def contributions(
        self, items: NDArray[np.int64], shares: NDArray[np.float32], targets: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """share_h·B[h, i] for items h [H] and targets i [K]: [H, K]."""
        parts: NDArray[np.float32] = self.sources[items] @ self.targets[targets].T
        parts -= np.where(items[:, None] == targets, self.own[items][:, None], np.float32(0))
        return parts * shares[:, None]
