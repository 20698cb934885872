"""Exported vectors as files: Parquet, safetensors, or an index of FAISS."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glta_cli.answers.exported_vectors import ExportedVectors
from glta_cli.core.files import write_bytes, write_json
from glta_cli.core.tensors import write_tensors
from glta_cli.serving.index import Index


@dataclass(frozen=True, eq=False)
class ExportedCatalogue:
    """Who and what is exported, by position, and what each user has met of it.

    Users without a history and items that the item file names no more are left out: neither has answers.

    Attributes:
        users, items: original ids; titles: of the items.
        user_vectors, item_vectors: float32 [U, D] and [I, D].
        seen_indptr, seen_items: positions of items each user is never recommended again, int64 [U + 1] and [n].
    """

    users: list[str]
    items: list[str]
    titles: list[str]
    user_vectors: NDArray[np.float32]
    item_vectors: NDArray[np.float32]
    seen_indptr: NDArray[np.int64]
    seen_items: NDArray[np.int64]

    @classmethod
    def of(cls, index: Index, vectors: ExportedVectors) -> ExportedCatalogue:
        """Of an index, with the vectors made of it."""
        listed = np.setdiff1d(np.arange(len(index.item_ids)), index.delisted)
        position = np.full(len(index.item_ids), -1, dtype=np.int64)
        position[listed] = np.arange(len(listed))
        seen = index.seen
        counts = np.zeros(len(index.user_ids), dtype=np.int64)
        kept = position[seen.items] >= 0
        np.add.at(counts, seen.users[kept], 1)
        indptr = np.concatenate([[0], np.cumsum(counts[vectors.people])]).astype(np.int64)
        # Whoever has no history has met nothing, so that what is left stands in the same order.
        return cls(
            [index.user_ids[user] for user in vectors.people],
            [index.item_ids[item] for item in listed],
            [index.titles[item] for item in listed],
            vectors.users[vectors.people],
            vectors.items[listed],
            indptr,
            position[seen.items[kept]],
        )

    @property
    def bytes(self) -> int:
        """What its vectors take."""
        return self.user_vectors.nbytes + self.item_vectors.nbytes


def write_vectors(name: str, catalogue: ExportedCatalogue, folder: Path, index: Any = None) -> None:
    """Write the files of a format into a folder.

    Args:
        index: of `faiss`, which searches the items; None is one that looks at all of them.

    Raises:
        OSError: it cannot be written.
    """
    if name == "safetensors":
        _write_safetensors(catalogue, folder)
        return
    _write_parquet(catalogue, folder, item_vectors=name == "parquet")
    if name == "faiss":
        _write_faiss(_exact_index(catalogue.item_vectors) if index is None else index, folder / "items.faiss")


def _write_parquet(catalogue: ExportedCatalogue, folder: Path, *, item_vectors: bool) -> None:
    import polars as pl

    from glta_cli.core.parquet import write_table

    def vectors(rows: NDArray[np.float32]) -> Any:
        return pl.Series("vector", rows, dtype=pl.Array(pl.Float32, rows.shape[1])).cast(pl.List(pl.Float32))

    users = pl.DataFrame({"user": pl.Series(catalogue.users, dtype=pl.String)})
    items = pl.DataFrame({"item": pl.Series(catalogue.items, dtype=pl.String), "title": catalogue.titles})
    write_table(folder / "users.parquet", users.with_columns(vectors(catalogue.user_vectors)))
    write_table(
        folder / "items.parquet", items.with_columns(vectors(catalogue.item_vectors)) if item_vectors else items
    )
    met = np.repeat(np.arange(len(users)), np.diff(catalogue.seen_indptr))
    seen = pl.DataFrame({"user": users["user"].gather(met), "item": items["item"].gather(catalogue.seen_items)})
    write_table(folder / "seen.parquet", seen)


def _write_safetensors(catalogue: ExportedCatalogue, folder: Path) -> None:
    tensors: dict[str, NDArray[Any]] = {
        "users": catalogue.user_vectors,
        "items": catalogue.item_vectors,
        "seen_indptr": catalogue.seen_indptr,
        "seen_items": catalogue.seen_items,
    }
    write_tensors(folder / "vectors.safetensors", tensors)
    names = {"users": catalogue.users, "items": catalogue.items, "titles": catalogue.titles}
    write_json(folder / "ids.json", names)


def _exact_index(items: NDArray[np.float32]) -> Any:
    import faiss

    index = faiss.IndexFlatIP(items.shape[1])
    index.add(np.ascontiguousarray(items))
    return index


def _write_faiss(index: Any, path: Path) -> None:
    import faiss

    write_bytes(path, faiss.serialize_index(index).tobytes())
