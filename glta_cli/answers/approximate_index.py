"""An index of FAISS that looks at a part of the catalogue, and how much of the exact ranking it finds.

Graphs and cells are made of distances, which an inner product is none of. With one more coordinate, √(M² - |v|²) of an
item v and 0 of a query, where M is the length of the longest item vector, the nearest items by Euclidean distance are
those with the largest inner products: |(q, 0) - (v, √(M² - |v|²))|² = |q|² + M² - 2⟨q, v⟩. Queries are brought to the
length M, which changes no ranking, so that the distances of single precision stay apart.

Source: Bachrach et al., Speeding Up the Xbox Recommender System Using a Euclidean Transformation for Inner-Product
Spaces, RecSys 2014; HNSW: Malkov and Yashunin, TPAMI 2020; cells (IVF): Jégou et al., TPAMI 2011.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from glta_cli.answers.export_files import ExportedCatalogue
from glta_cli.core.counts import counted
from glta_cli.core.progress import progress_bar
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.scorer import product_scorer
from glta_cli.ranking.top_k import rank_users

CUTOFFS: Final = (10, 100)
MEASURED_USERS: Final = 1_000
FEW_FOUND: Final = 0.9
"""Below this recall a person is warned."""

# Neighbours of a node, and how many candidates are kept while one is looked for: where the index is made, and asked.
_NEIGHBOURS, _CANDIDATES, _CANDIDATES_ASKED = 32, 200, 256
# Cells: so many times the root of the number of items, with so many items each at least; one of sixteen is looked into,
# eight at least.
_CELLS_A_ROOT, _ITEMS_A_CELL, _CELLS_A_LOOK, _LEAST_CELLS = 4, 39, 16, 8
_ITEMS_TO_LEARN_A_CELL: Final = 64
_ITEMS_AT_ONCE: Final = 4_096


@dataclass(frozen=True, eq=False)
class ApproximateIndex:
    """An index of FAISS over items with one more coordinate, [I, D + 1].

    Attributes:
        index: of `faiss`.
        longest: M, the length of the longest item vector.
        said: how it looks: `method` and what that is set to.
    """

    index: Any
    longest: float
    said: dict[str, Any]

    @property
    def bytes(self) -> int:
        """What its file takes, about."""
        beside = 8 * _NEIGHBOURS + 16 if self.said["method"] == "hnsw" else 8
        return int(self.index.ntotal * (4 * self.index.d + beside) + 4 * self.index.d * self.said.get("cells", 0))

    def search(self, queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
        """Positions of the nearest items of queries [B, D], nearest first: [B, k]; -1 where no more are found."""
        found: NDArray[np.int64] = self.index.search(lengthened(queries, self.longest), k)[1]
        return found


def approximate_index(items: NDArray[np.float32], method: str) -> ApproximateIndex:
    """The index of item vectors [I, D].

    Raises:
        InterruptedRunError: SIGINT or SIGTERM arrived.
    """
    import faiss

    longest = float(np.linalg.norm(items, axis=1).max(initial=0))
    count, width = len(items), items.shape[1] + 1
    cells = max(1, min(round(_CELLS_A_ROOT * count**0.5), count // _ITEMS_A_CELL))
    if method == "hnsw":
        index: Any = faiss.IndexHNSWFlat(width, _NEIGHBOURS)
        index.hnsw.efConstruction, index.hnsw.efSearch = _CANDIDATES, _CANDIDATES_ASKED
        said = {"method": method, "efSearch": _CANDIDATES_ASKED, "neighbours": _NEIGHBOURS}
    else:
        index = faiss.IndexIVFFlat(faiss.IndexFlatL2(width), width, cells)
        index.nprobe = min(cells, max(_LEAST_CELLS, cells // _CELLS_A_LOOK))
        index.cp.min_points_per_centroid = 1
        said = {"method": method, "nprobe": index.nprobe, "cells": cells}
    with progress_bar(count, f"index by {method}", "items", step="this batch of items") as bar:
        if method == "ivf":
            index.train(distant(_some(items, cells), longest))
        for start in range(0, count, _ITEMS_AT_ONCE):
            batch = items[start : start + _ITEMS_AT_ONCE]
            index.add(distant(batch, longest))
            bar.update(len(batch))
    return ApproximateIndex(index, longest, said)


def distant(items: NDArray[np.float32], longest: float) -> NDArray[np.float32]:
    """Items [I, D] with the coordinate that makes a distance of their inner products: [I, D + 1]."""
    rest = np.maximum(0, longest**2 - np.square(items, dtype=np.float64).sum(axis=1))
    return np.column_stack([items, np.sqrt(rest)]).astype(np.float32)


def lengthened(queries: NDArray[np.float32], longest: float) -> NDArray[np.float32]:
    """Queries [B, D] of the length `longest`, with a 0 behind them: [B, D + 1]; one of zeros stays so."""
    norms = np.linalg.norm(queries, axis=1, keepdims=True)  # [B, 1]
    scaled = queries * (longest / np.where(norms == 0, 1, norms))
    return np.pad(scaled, ((0, 0), (0, 1))).astype(np.float32)


def _some(items: NDArray[np.float32], cells: int) -> NDArray[np.float32]:
    """As many as k-means finds the cells by."""
    most = cells * _ITEMS_TO_LEARN_A_CELL
    return items if len(items) <= most else items[np.random.default_rng(0).choice(len(items), most, replace=False)]


# ------------------------------------------------------------------------------------------------- what it finds


def measured_recall(found: ApproximateIndex, catalogue: ExportedCatalogue) -> dict[str, Any]:
    """Of the first ten and hundred unseen items by inner products, the shares that the index finds among its own.

    Asked as the note shows it: for as many more items as a user has met. An item that has the score of the last of them
    is as good: of users whose vector is zeros that is any. Means over `users` of those that are exported, a thousand
    drawn at random where there are more.
    """
    count = len(catalogue.users)
    users = np.arange(count)
    if count > MEASURED_USERS:
        users = np.sort(np.random.default_rng(0).choice(count, MEASURED_USERS, replace=False))
    seen = Interactions(catalogue.seen_indptr, catalogue.seen_items, len(catalogue.items))
    score = product_scorer(catalogue.user_vectors, catalogue.item_vectors)
    exact = rank_users(score, users, CUTOFFS[-1], seen, description="rank users")
    shares: dict[int, list[float]] = {k: [] for k in CUTOFFS}
    with progress_bar(len(users), "measure the recall", "users", step="this user", within_another=True) as bar:
        for user, ranked in zip(users, exact, strict=True):
            met = seen.items[seen.indptr[user] : seen.indptr[user + 1]]
            unseen = min(len(ranked), len(catalogue.items) - len(np.unique(met)))
            for k in CUTOFFS:
                if len(best := ranked[: min(k, unseen)]):
                    query = catalogue.user_vectors[user]
                    own = _first_unseen(found, query, met, k, len(catalogue.items))
                    shares[k].append(_as_good(own, best, query, catalogue.item_vectors) / len(best))
            bar.update(1)
    return {"users": len(users), **{f"recall@{k}": float(np.mean(shares[k])) if shares[k] else 1.0 for k in CUTOFFS}}


def _first_unseen(
    found: ApproximateIndex, query: NDArray[np.float32], met: NDArray[np.int64], k: int, count: int
) -> Sequence[int]:
    """The first k items of a query [D] that are not among those met; fewer where the index finds no more."""
    [rows] = found.search(query[None], min(k + len(met), count))
    own: list[int] = rows[(rows >= 0) & ~np.isin(rows, met)].tolist()
    return own[:k]


def _as_good(
    own: Sequence[int], best: NDArray[np.int64], query: NDArray[np.float32], items: NDArray[np.float32]
) -> int:
    """How many of some items are among the best of a query [D], or have the score of the last of these."""
    # By the product of each alone, which is the same for items of the same vector.
    least, scores = ((items[rows].astype(np.float64) * query).sum(axis=1) for rows in (best[-1:], list(own)))
    return int((np.isin(own, best) | (scores >= least)).sum())


def few_found(said: Mapping[str, Any]) -> str | None:
    """The warning where an index misses many of the best items; None where it finds most.

    Args:
        said: how it looks, and what `measured_recall` found.
    """
    low = [f"recall@{k} {said[f'recall@{k}']:.3f}" for k in CUTOFFS if said[f"recall@{k}"] < FEW_FOUND]
    if not low:
        return None
    other = "without --approximate it is exact"
    if said["method"] == "hnsw":
        other = f"--approximate ivf may find more, and {other}"
    people = counted(said["users"], "user")
    return f"the index misses many of the best items ({', '.join(low)}, of {people}): {other}"
