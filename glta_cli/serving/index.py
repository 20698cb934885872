"""The published index: all that is needed to rank the catalogue for any user, as vectors whose products are scores.

One safetensors file, mapped into memory: an answer for one user reads that user's rows and the item vectors.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.tensors import damaged, header_of, write_tensors
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.scorer import Scorer, product_scorer
from glta_cli.ranking.top_k import mask_seen
from glta_cli.serving.fusion import FusionWeights, fuse
from glta_cli.serving.string_column import StringColumn
from glta_cli.workspace.artefact import Artefact

LAYOUT: Final = 2
"""Part of the settings of the stage: an index of another layout is built again."""

VECTORS = "vectors.safetensors"
TENSORS = {
    *(
        "rows",
        "items",
        "bias",
        "graph_users",
        "graph_items",
        "lengths",
        "history_indptr",
        "history_items",
        "user_order",
    ),
    *(f"{column}{part}" for column in ("user_ids", "item_ids", "titles") for part in ("", "_offsets")),
}
# Beside them where less than the history is masked.
SEEN_TENSORS = {"seen_indptr", "seen_items"}
# Beside them where items are in nobody's answers.
DELISTED = "delisted"
DTYPES = {"F32": np.float32, "I64": np.int64, "U8": np.uint8}


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


class Index:
    """Reads a published index."""

    def __init__(self, artefact: Artefact) -> None:
        self.artefact = artefact

    @cached_property
    def _tensors(self) -> dict[str, NDArray[Any]]:
        return mapped_tensors(self.artefact.mapped_file(VECTORS))

    @cached_property
    def history(self) -> Interactions:
        """Every known interaction of every user."""
        tensors = self._tensors
        return Interactions(tensors["history_indptr"], tensors["history_items"], len(tensors["bias"]))

    @cached_property
    def seen(self) -> Interactions:
        """What is never recommended again: the history, unless only some of it keeps an item out."""
        tensors = self._tensors
        if not tensors.keys() >= SEEN_TENSORS:
            return self.history
        return Interactions(tensors["seen_indptr"], tensors["seen_items"], len(tensors["bias"]))

    def left_out(self, user: int) -> tuple[Interactions, ...]:
        """What is masked for one user: what counts as seen, and as if it was seen what is in nobody's answers."""
        delisted = self._tensors.get(DELISTED)
        if delisted is None:
            return (self.seen,)
        indptr = np.zeros(self.seen.user_count + 1, dtype=np.int64)
        indptr[user + 1 :] = len(delisted)
        return self.seen, Interactions(indptr, delisted, self.seen.item_count)

    @property
    def user_ids(self) -> StringColumn:
        """Original user ids, by index."""
        return self._strings("user_ids")

    @property
    def item_ids(self) -> StringColumn:
        """Original item ids, by index."""
        return self._strings("item_ids")

    @property
    def titles(self) -> StringColumn:
        """Item titles, by index; the id where there is no title."""
        return self._strings("titles")

    def user(self, user_id: str) -> int | None:
        """The index of an original user id; None where there is no such user."""
        return self.user_ids.find(user_id, self._tensors["user_order"])

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
        return product_scorer(self._tensors["graph_users"], self._tensors["graph_items"].T)

    def language_scorer(self, *seen: Interactions) -> Scorer:
        """The language model alone."""
        tensors = self._tensors
        return LanguageScores(tensors["rows"], tensors["items"].T, tensors["bias"]).scorer(*seen)

    def scorer(self, *seen: Interactions) -> Scorer:
        """The model: fused where the recipe says so."""
        language = self.language_scorer(*seen)
        if not self.fused:
            return language
        graph = self.graph_scorer()
        weights, lengths = FusionWeights(**self.artefact.details["fusion"]), self._tensors["lengths"]
        return lambda batch: fuse(graph(batch), language(batch), weights.of_lengths(lengths[batch]))

    def _strings(self, name: str) -> StringColumn:
        return StringColumn(self._tensors[name], self._tensors[f"{name}_offsets"])


def mapped_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of an index as views of its file: a page is read when it is looked at.

    Raises:
        GltaError: the file is damaged, or lacks a tensor of `TENSORS`.
    """
    start, header = header_of(path)
    try:
        content = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
        tensors = {
            name: content[start + first : start + end].view(DTYPES[entry["dtype"]]).reshape(entry["shape"])
            for name, entry in header.items()
            if name != "__metadata__"
            for first, end in [entry["data_offsets"]]
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(path, f"its header cannot be true: {error}") from error
    missing = TENSORS - tensors.keys()
    if missing:
        raise damaged(path, f"without the tensor {', '.join(sorted(missing))}")
    return tensors


def write_index(
    folder: Path,
    language: LanguageScores,
    graph_users: NDArray[np.float32],
    graph_items: NDArray[np.float32],
    lengths: NDArray[np.int64],
    history: Interactions,
    *,
    seen: Interactions | None = None,
    delisted: NDArray[np.int64] | None = None,
    user_ids: list[str],
    item_ids: list[str],
    titles: list[str],
) -> None:
    """Write an index's file; `lengths` are the users' history lengths that fusion looks at.

    Of the history, `seen` alone is masked; None masks all of it. Items of `delisted` [n] are masked for everyone. Item
    vectors are stored as columns, [D, I], the order
    in which a product with a block of users reads them.
    """
    columns = {
        name: StringColumn.of(strings)
        for name, strings in {"user_ids": user_ids, "item_ids": item_ids, "titles": titles}.items()
    }
    tensors: dict[str, NDArray[Any]] = {
        "rows": language.rows,
        "items": language.columns,
        "bias": language.bias,
        "graph_users": graph_users,
        "graph_items": np.ascontiguousarray(graph_items.T),
        "lengths": lengths,
        "history_indptr": history.indptr,
        "history_items": history.items,
        "user_order": columns["user_ids"].order(),
        **{name: column.text for name, column in columns.items()},
        **{f"{name}_offsets": column.offsets for name, column in columns.items()},
    }
    if seen is not None and len(seen) < len(history):
        tensors |= {"seen_indptr": seen.indptr, "seen_items": seen.items}
    if delisted is not None and len(delisted):
        tensors[DELISTED] = delisted
    write_tensors(folder / VECTORS, tensors)
