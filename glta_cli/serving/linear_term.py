"""The linear term of a run: item-item weights in a file of their own, of which an answer reads one user's rows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.tensors import damaged, write_tensors
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.scorer import Scorer
from glta_cli.plugin.terms import LinearTerm, LowRankTerm
from glta_cli.serving.item_factors import ItemFactors
from glta_cli.serving.mapped_tensors import tensors_in
from glta_cli.workspace.artefact import Artefact

if TYPE_CHECKING:
    from scipy.sparse import csr_array

LINEAR: Final = "linear.safetensors"
"""Of the stage that chooses the linear term, and of an index it takes part in. It holds `weights`, float32 [I, I]; or
the rows of a sparse matrix: `indptr` int64 [I + 1], `columns` int32 or int64 [n], `values` float32 [n]; or those of low
rank: `sources` float32 [I, d], `own` float32 [I] and, where they differ from the sources, `targets` float32 [I, d]."""

DENSE, SPARSE, LOW_RANK = {"weights"}, {"indptr", "columns", "values"}, {"sources", "own"}


@dataclass(frozen=True, eq=False)
class ItemWeights:
    """B, [I, I], as it lies in its file.

    Attributes:
        dense: float32 [I, I]; None where the matrix is sparse.
        indptr, columns, values: the rows of a sparse matrix, [I + 1], [n] and [n]; None where it is dense.
    """

    dense: NDArray[np.float32] | None = None
    indptr: NDArray[np.int64] | None = None
    columns: NDArray[np.integer] | None = None
    values: NDArray[np.float32] | None = None

    @property
    def item_count(self) -> int:
        if self.dense is not None:
            return len(self.dense)
        assert self.indptr is not None
        return len(self.indptr) - 1

    @cached_property
    def matrix(self) -> NDArray[np.float32] | csr_array:
        """B for many users at once; scipy is imported where it is sparse."""
        if self.dense is not None:
            return self.dense
        from scipy.sparse import csr_array

        indptr, columns, values = self._rows
        shape = (self.item_count, self.item_count)
        return csr_array((values, columns.astype(np.int64, copy=False), indptr), shape=shape)

    def scores(self, histories: csr_array) -> NDArray[np.float32]:
        """Rows of histories [B, I] times B: [B, I]."""
        scores = histories @ self.matrix
        return scores if isinstance(scores, np.ndarray) else scores.toarray()

    def weighted_sum(self, items: NDArray[np.int64], shares: NDArray[np.float32]) -> NDArray[np.float32]:
        """The rows of some items [n], each times its share [n], added up: [I].

        One after the other, as the product of a sparse matrix adds: the sum of one user is that of a block.
        """
        total = np.zeros(self.item_count, dtype=np.float32)
        if self.dense is not None:
            for item, share in zip(items, shares, strict=True):
                total += self.dense[item] * share
            return total
        indptr, columns, values = self._rows
        for item, share in zip(items, shares, strict=True):
            row = slice(indptr[item], indptr[item + 1])
            total[columns[row]] += values[row] * share
        return total

    def row(self, item: int) -> tuple[NDArray[np.integer], NDArray[np.float32]]:
        """The columns of one row that a sparse matrix holds, and their values: [n] each."""
        indptr, columns, values = self._rows
        held = slice(indptr[item], indptr[item + 1])
        return columns[held], values[held]

    @property
    def _rows(self) -> tuple[NDArray[np.int64], NDArray[np.integer], NDArray[np.float32]]:
        assert self.indptr is not None
        assert self.columns is not None
        assert self.values is not None
        return self.indptr, self.columns, self.values


AnyWeights = ItemWeights | ItemFactors


def item_weights(path: Path) -> AnyWeights:
    """The weights of a file, mapped into memory; raises `GltaError` where it is damaged."""
    tensors = tensors_in(path)
    if tensors.keys() >= DENSE:
        weights = tensors["weights"]
        if weights.ndim != 2 or weights.shape[0] != weights.shape[1]:
            raise damaged(path, f"item-item weights of shape {list(weights.shape)}")
        return ItemWeights(dense=weights)
    if tensors.keys() >= LOW_RANK:
        return _item_factors(path, tensors)
    if not tensors.keys() >= SPARSE:
        raise damaged(path, "neither item-item weights nor the rows of such")
    found = ItemWeights(None, tensors["indptr"], tensors["columns"], tensors["values"])
    if not len(tensors["columns"]) == len(tensors["values"]) == tensors["indptr"][-1]:
        raise damaged(path, "rows that do not end where their values do")
    return found


def _item_factors(path: Path, tensors: dict[str, NDArray[Any]]) -> ItemFactors:
    sources, own = tensors["sources"], tensors["own"]
    targets = tensors.get("targets", sources)
    if sources.ndim != 2 or targets.shape != sources.shape or own.shape != sources.shape[:1]:
        shapes = " and ".join(str(list(each.shape)) for each in (sources, targets, own))
        raise damaged(path, f"item-item weights of low rank of shapes {shapes}")
    return ItemFactors(sources, targets, own)


def read_linear_term(artefact: Artefact) -> LinearTerm | LowRankTerm:
    """The linear term an artefact holds, mapped into memory: of stage `fit-linear`, or of an index.

    Raises:
        GltaError: the file is missing, damaged, or was changed after it was published.
    """
    weights, recency = item_weights(artefact.mapped_file(LINEAR)), float(artefact.details["recency"])
    if isinstance(weights, ItemFactors):
        return LowRankTerm(weights.sources, weights.targets, weights.own, recency)
    return LinearTerm(weights.matrix, recency)


def weights_of(term: LinearTerm | LowRankTerm) -> AnyWeights:
    """The weights of a term, as those that lie in a file."""
    if isinstance(term, LowRankTerm):
        return ItemFactors(term.sources, term.targets, term.own)
    weights = term.weights
    if isinstance(weights, np.ndarray):
        return ItemWeights(weights)
    return ItemWeights(None, weights.indptr, weights.indices, weights.data)


def write_linear_term(folder: Path, term: LinearTerm | LowRankTerm) -> None:
    """Write the weights of a term into a folder; its recency is the manifest's to keep.

    Raises:
        OSError: it cannot be written.
    """
    if isinstance(term, LowRankTerm):
        write_tensors(folder / LINEAR, _tensors_of_factors(term))
        return
    weights: Any = term.weights
    if isinstance(weights, np.ndarray):
        tensors = {"weights": np.ascontiguousarray(weights, dtype=np.float32)}
    else:
        smallest = np.int32 if weights.shape[1] <= np.iinfo(np.int32).max else np.int64
        tensors = {
            "indptr": weights.indptr.astype(np.int64),
            "columns": weights.indices.astype(smallest),
            "values": weights.data.astype(np.float32),
        }
    write_tensors(folder / LINEAR, tensors)


def _tensors_of_factors(term: LowRankTerm) -> dict[str, NDArray[Any]]:
    parts = {"sources": term.sources, "own": term.own}
    if term.targets is not term.sources:
        parts["targets"] = term.targets
    return {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in parts.items()}


def linear_scorer(weights: AnyWeights, recency: float, histories: Interactions) -> Scorer:
    """Scores of each user's history times B: users [B] -> [B, I].

    One user's are added up by numpy alone; those of a block are the product of a sparse matrix with B, or with its
    factors.
    """
    met_by_all = cache(lambda: history_matrix(histories, recency))

    def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
        if len(users) == 1:
            part = slice(histories.indptr[users[0]], histories.indptr[users[0] + 1])
            items = histories.items[part]
            weight = None if histories.weights is None else histories.weights[part]
            newer = np.arange(len(items) - 1, -1, -1, dtype=np.float32)
            return weights.weighted_sum(items, _shares(weight, newer, recency))[None]
        return weights.scores(met_by_all()[users])

    return score


def shares_in(histories: Interactions, recency: float) -> NDArray[np.float32]:
    """What each interaction counts for, [n]: its weight, and r^n of that, n the newer items of the same user."""
    ends = histories.indptr[1:][histories.users]
    newer = (ends - 1 - np.arange(len(histories))).astype(np.float32)
    return _shares(histories.weights, newer, recency)


def _shares(weights: NDArray[np.float32] | None, newer: NDArray[np.float32], recency: float) -> NDArray[np.float32]:
    own = np.ones(len(newer), dtype=np.float32) if weights is None else weights
    return own if recency == 1 else own * np.float32(recency) ** newer


def history_matrix(histories: Interactions, recency: float) -> csr_array:
    """X, what each user has of each item, [U, I]: what B is multiplied by."""
    from scipy.sparse import csr_array

    shape = (histories.user_count, histories.item_count)
    return csr_array((shares_in(histories, recency), histories.items, histories.indptr), shape=shape)
