"""The published index: all that is needed to rank the catalogue for any user, as vectors whose products are scores."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from glta_cli.data.interactions import Interactions
from glta_cli.evaluation.ranking import Scorer, mask_seen
from glta_cli.serving.fusion import FusionWeights, fuse
from glta_cli.workspace import Artefact

VECTORS = "vectors.safetensors"


class LanguageScores:
    """Item scores from the rows read out of the language model.

    Args:
        rows: [U, R, D], one query for each row of the list; R = 1 ranks the catalogue by the first row.
        items: [I, D].
        bias: [I].
    """

    def __init__(self, rows: NDArray[np.float32], items: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        self.rows = rows
        self.items = items
        self.bias = bias

    def scorer(self, *seen: Interactions) -> Scorer:
        """Scores of the first row; with several rows, row t's best item not in `seen` and not yet taken is t-th."""

        def score(users: NDArray[np.int64]) -> NDArray[np.float32]:
            first = self._scores(users, 0)
            return first if self.rows.shape[1] == 1 else self._with_rows_on_top(first, users, seen)

        return score

    def _scores(self, users: NDArray[np.int64], row: int) -> NDArray[np.float32]:
        scores: NDArray[np.float32] = self.rows[users, row] @ self.items.T + self.bias
        return scores

    def _with_rows_on_top(
        self, first: NDArray[np.float32], users: NDArray[np.int64], seen: tuple[Interactions, ...]
    ) -> NDArray[np.float32]:
        everyone = np.arange(len(users))
        result = first.copy()
        ceiling = first.max(axis=1)
        taken = np.zeros(first.shape, dtype=bool)
        count = min(self.rows.shape[1], len(self.items))
        for row in range(count):
            scores = self._scores(users, row)
            mask_seen(scores, users, *seen)
            scores[taken] = -np.inf
            best = scores.argmax(axis=1)
            taken[everyone, best] = True
            result[everyone, best] = ceiling + count - row
        return result


class Index:
    """Reads a published index."""

    def __init__(self, artefact: Artefact) -> None:
        self.artefact = artefact

    @cached_property
    def _vectors(self) -> dict[str, NDArray[Any]]:
        return load_file(self.artefact.file(VECTORS))

    @cached_property
    def history(self) -> Interactions:
        """Every known interaction of every user: what is never recommended again."""
        vectors = self._vectors
        return Interactions(vectors["history_indptr"], vectors["history_items"], len(vectors["items"]))

    @property
    def encoder(self) -> str:
        """The name of the graph encoder."""
        return str(self.artefact.details["encoder"])

    @property
    def fused(self) -> bool:
        """Whether the graph encoder's scores take part."""
        return self.artefact.details["fusion"] is not None

    def graph_scorer(self) -> Scorer:
        """The graph encoder alone."""
        users, items = self._vectors["graph_users"], self._vectors["graph_items"]
        return lambda batch: users[batch] @ items.T

    def language_scorer(self, *seen: Interactions) -> Scorer:
        """The language model alone."""
        vectors = self._vectors
        return LanguageScores(vectors["rows"], vectors["items"], vectors["bias"]).scorer(*seen)

    def scorer(self, *seen: Interactions) -> Scorer:
        """The model: fused where the recipe says so."""
        language = self.language_scorer(*seen)
        if not self.fused:
            return language
        graph = self.graph_scorer()
        weights = FusionWeights(**self.artefact.details["fusion"]).of_lengths(self._vectors["lengths"])
        return lambda batch: fuse(graph(batch), language(batch), weights[batch])


def write_vectors(
    folder: Path,
    language: LanguageScores,
    graph_users: NDArray[np.float32],
    graph_items: NDArray[np.float32],
    lengths: NDArray[np.int64],
    history: Interactions,
) -> None:
    """Write an index's vectors; `lengths` are the users' history lengths that fusion looks at."""
    save_file(
        {
            "rows": language.rows,
            "items": language.items,
            "bias": language.bias,
            "graph_users": graph_users,
            "graph_items": graph_items,
            "lengths": lengths,
            "history_indptr": history.indptr,
            "history_items": history.items,
        },
        folder / VECTORS,
    )
