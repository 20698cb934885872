"""An index's files, as they are written: vectors, histories and names in one, a linear term's weights beside it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.tensors import write_tensors
from glta_cli.data.item_columns import ITEM_COLUMNS_FILE
from glta_cli.graph.user_map import UserMap
from glta_cli.plugin.interactions import Interactions
from glta_cli.serving.index import DELISTED, VECTORS
from glta_cli.serving.language_scores import LanguageScores
from glta_cli.serving.linear_term import LINEAR
from glta_cli.serving.string_column import StringColumn
from glta_cli.serving.user_map_file import user_map_tensors
from glta_cli.workspace.artefact import Artefact

GraphVectors = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Of users, [U, d], and items, [I, d]."""


def write_index(
    folder: Path,
    language: LanguageScores | None,
    graph: GraphVectors | None,
    lengths: NDArray[np.int64],
    history: Interactions,
    *,
    linear: Interactions | None = None,
    seen: Interactions | None = None,
    delisted: NDArray[np.int64] | None = None,
    user_map: UserMap | None = None,
    user_ids: list[str],
    item_ids: list[str],
    titles: list[str],
) -> None:
    """Write an index's vectors, histories and names; a linear term's weights are another file.

    Of the history, `seen` alone is masked; None masks all of it. Items of `delisted` [n] are masked for everyone. Item
    vectors are stored as columns, [D, I], the order
    in which a product with a block of users reads them.

    Args:
        language, graph: of terms the index holds; None of those it does not.
        lengths: the users' history lengths that fusion looks at, [U].
        linear: the histories a linear term scores by; None where the index holds none.
        user_map: how people who are in no file follow from their items, in the space of `graph`.
    """
    columns = {
        name: StringColumn.of(strings)
        for name, strings in {"user_ids": user_ids, "item_ids": item_ids, "titles": titles}.items()
    }
    tensors: dict[str, NDArray[Any]] = {}
    if language is not None:
        tensors |= {"rows": language.rows, "items": language.columns, "bias": language.bias}
    if graph is not None:
        users, items = graph
        tensors |= {"graph_users": users, "graph_items": np.ascontiguousarray(items.T)}
    tensors |= {
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
    if user_map is not None:
        tensors |= user_map_tensors(user_map)
    if linear is not None:
        name = "history" if linear is history else "linear"
        tensors |= {f"{name}_indptr": linear.indptr, f"{name}_items": linear.items}
        if linear.weights is not None:
            tensors[f"{name}_weights"] = linear.weights.astype(np.float32, copy=False)
    write_tensors(folder / VECTORS, tensors)


def share_linear_term(source: Path, folder: Path) -> None:
    """Put the weights of a linear term into an index's folder: the same file under a second name, or else a copy.

    Raises:
        OSError: it cannot be written.
    """
    _share(source, folder / LINEAR)


def share_item_columns(prepared: Artefact, folder: Path) -> None:
    """Put the further columns of a dataset's items into an index's folder, in the same way; nothing where it has none.

    Raises:
        GltaError: the dataset's file is damaged.
        OSError: it cannot be written.
    """
    if prepared.has(ITEM_COLUMNS_FILE):
        _share(prepared.file(ITEM_COLUMNS_FILE), folder / ITEM_COLUMNS_FILE)


def _share(source: Path, target: Path) -> None:
    try:
        os.link(source, target)  # gigabytes that need no second place on the disk
    except OSError:
        shutil.copyfile(source, target)
