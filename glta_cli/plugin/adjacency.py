"""The rows of a normalised adjacency: made by counting, in memory or mapped from a file, and what they are of nodes."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from glta_cli.core.counts import counted
from glta_cli.core.errors import InputError
from glta_cli.core.storage import storage_errors
from glta_cli.plugin.interactions import Interactions

# Rows of a product at once: 16 MiB at 64 dimensions, small beside the nodes and large beside a call.
BLOCK_ROWS = 1 << 16
# Of an int32, in which the rows of A are kept: each interaction stands there twice.
MOST_EDGES = 2**30 - 1


@dataclass(frozen=True)
class Edges:
    """The rows of A for users and items as nodes 0..U-1 and U..U+I-1.

    Attributes:
        indptr: int32 [N], where each node's neighbours start.
        neighbours: int32 [2E]; of users first, each in order of its items here, then of items, by user.
        weights: float32 [2E], 1 / sqrt(degree · degree) of both ends.
        file: what the latter two are mapped from; None where they are in memory.
    """

    indptr: Tensor
    neighbours: Tensor
    weights: Tensor
    file: MappedEdges | None = None


@dataclass(frozen=True)
class MappedEdges:
    """A file without a name that holds `neighbours` and then `weights`, 4 bytes each."""

    mapped: mmap.mmap
    count: int

    def __deepcopy__(self, memo: dict[int, Any]) -> MappedEdges:
        # Of a mapping there is no copy, and edges never change: copies of a graph have the same.
        return self

    @classmethod
    def of(cls, folder: Path, count: int) -> MappedEdges:
        """Room for so many edges on the disk of `folder`, which is free again when nobody maps it."""
        size = max(1, 8 * count)
        with storage_errors(folder, size):
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder) as file:
                # Taken now: a disk that is full would otherwise end the process at the first page it has no room for.
                zeros = bytes(1 << 20)
                for start in range(0, size, len(zeros)):
                    file.write(zeros[: size - start])
                file.flush()
                return cls(mmap.mmap(file.fileno(), size), count)

    def arrays(self) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Both arrays [2E], as they are on the disk; writing to them writes there."""
        return (
            np.frombuffer(self.mapped, np.int32, self.count),
            np.frombuffer(self.mapped, np.float32, self.count, offset=4 * self.count),
        )

    def let_go(self, start: int, end: int) -> None:
        """Tell the kernel that these edges may leave memory; whoever reads them again has them from the disk."""
        if not hasattr(self.mapped, "madvise"):
            return  # Windows
        for first, last in ((4 * start, 4 * end), (4 * (self.count + start), 4 * (self.count + end))):
            page = first // mmap.PAGESIZE * mmap.PAGESIZE
            if last > page:
                self.mapped.madvise(mmap.MADV_DONTNEED, page, last - page)


def edges_of(interactions: Interactions, folder: Path | None = None) -> Edges:
    """The rows of A by a counting sort: beside them some 10 bytes an interaction.

    Args:
        folder: on whose disk neighbours and weights are kept, from which they are mapped; None keeps them in memory.

    Raises:
        InputError: there are more interactions than an int32 counts.
        GltaError: the disk is full.
    """
    count, users = len(interactions), interactions.user_count
    if count > MOST_EDGES:
        raise InputError(
            f"{counted(count, 'interaction is', 'interactions are')} more edges than a graph can hold, {MOST_EDGES:,}",
            location="graph",
            hint="leave some out: dataset.kcore, or another split",
        )
    file = None if folder is None else MappedEdges.of(folder, 2 * count)
    neighbours, weights = (
        (np.empty(2 * count, np.int32), np.empty(2 * count, np.float32)) if file is None else (file.arrays())
    )
    np.add(interactions.items, users, out=neighbours[:count], casting="unsafe")
    starts = _by_item(interactions, neighbours[count:])
    indptr = np.empty(users + interactions.item_count, np.int32)  # [N]
    indptr[:users], indptr[users:] = interactions.indptr[:-1], starts
    _weigh(indptr, neighbours, weights)
    return Edges(torch.from_numpy(indptr), torch.from_numpy(neighbours), torch.from_numpy(weights), file)


def _by_item(interactions: Interactions, users: NDArray[np.int32]) -> NDArray[np.int64]:
    """Write the users of each item, item after item and in order, [E]; where each item's start in A's rows, [I]."""
    from scipy.sparse import csr_array

    count = len(interactions)
    shape = (interactions.user_count, interactions.item_count)
    # To turn compressed rows into compressed columns is a counting sort, and stable.
    indices = (interactions.items.astype(np.int32), interactions.indptr.astype(np.int32))
    columns = csr_array((np.ones(count, np.int8), *indices), shape=shape).tocsc()
    users[:] = columns.indices
    starts: NDArray[np.int64] = count + columns.indptr[:-1].astype(np.int64)
    return starts


def _weigh(indptr: NDArray[np.int32], neighbours: NDArray[np.int32], weights: NDArray[np.float32]) -> None:
    """Write 1 / sqrt(degree · degree) of both ends of every edge [2E], in blocks of rows."""
    ends = np.append(indptr[1:], np.int32(len(neighbours)))
    degrees = torch.from_numpy(ends - indptr)  # [N]
    # By torch, whose reciprocal root is rounded as in every graph before.
    normaliser = degrees.clamp(min=1).to(torch.float32).rsqrt().numpy()
    for start in range(0, len(indptr), BLOCK_ROWS):
        rows = slice(start, min(start + BLOCK_ROWS, len(indptr)))
        first, last = int(indptr[start]), int(ends[rows.stop - 1])
        own = np.repeat(normaliser[rows], degrees[rows].numpy())
        np.multiply(own, normaliser[neighbours[first:last]], out=weights[first:last])


# ------------------------------------------------------------------------------------------------- products


def product(edges: Edges, nodes: Tensor) -> Tensor:
    """A·nodes: [N, d] -> [N, d]."""
    if not in_blocks(edges, nodes):
        return F.embedding_bag(edges.neighbours, nodes, edges.indptr, mode="sum", per_sample_weights=edges.weights)
    result = torch.empty_like(nodes)
    for rows, block in products(edges, nodes, 0, len(nodes)):
        result[rows] = block
    return result


def polynomial(edges: Edges, nodes: Tensor, layers: int, user_count: int) -> Tensor:
    """Mean of nodes, A·nodes, ..., A^layers·nodes, [N, d], by Horner's rule: as a running mean.

    M_l = (x + l · A M_{l-1}) / (l + 1), M_0 = x.
    """
    if not in_blocks(edges, nodes):
        mean = nodes
        for layer in range(1, layers + 1):
            # In place: an interpolation is cheap, a fresh [N, d] from the operating system is not.
            mean = product(edges, mean).lerp_(nodes, 1 / (layer + 1))
        return mean
    if layers == 0:
        return nodes
    mean = torch.empty_like(nodes)
    sides = [user_count, len(nodes) - user_count]
    polynomial_of_sides(edges, nodes.split(sides), layers, mean.split(sides))
    return mean


def polynomial_of_sides(edges: Edges, nodes: Sequence[Tensor], layers: int, means: Sequence[Tensor]) -> None:
    """The same in blocks of rows, of users [U, d] and items [I, d], written to `means` of the same shapes; layers >= 1.

    Users have items for neighbours alone and the other way round. So M_l of one side needs M_{l-1} of the other, and
    takes the place of its own: beside both there is, for a while, one table of the smaller side.
    """
    users, items = nodes
    user_count = len(users)
    starts = (0, user_count)
    smaller = int(len(users) > len(items))  # which of the two sides
    larger = 1 - smaller
    beside = torch.empty_like(nodes[smaller]) if layers > 1 else means[smaller]
    for layer in range(1, layers + 1):
        before = nodes if layer == 1 else means  # M_{l-1}
        new = means[smaller] if layer == 1 else beside
        for side, result in ((smaller, new), (larger, means[larger])):
            start, other = starts[side], 1 - side
            end = start + len(nodes[side])
            for rows, block in products(edges, before[other], start, end, first_column=starts[other]):
                own = slice(rows.start - start, rows.stop - start)
                torch.lerp(block, nodes[side][own], 1 / (layer + 1), out=result[own])
        if layer > 1:
            means[smaller].copy_(beside)


def products(
    edges: Edges, nodes: Tensor, start: int, end: int, *, first_column: int = 0
) -> Iterator[tuple[slice, Tensor]]:
    """The rows `start` to `end` of A·nodes, in blocks: which they are, and a fresh [rows, d].

    Args:
        first_column: the node whose vector is the first of `nodes`: before it there is no neighbour of these rows.
    """
    for first in range(start, end, BLOCK_ROWS):
        rows = slice(first, min(first + BLOCK_ROWS, end))
        edge, last = int(edges.indptr[first]), _edges_before(edges, rows.stop)
        neighbours, weights = edges.neighbours[edge:last], edges.weights[edge:last]
        neighbours = neighbours - first_column if first_column else neighbours
        starts = edges.indptr[rows] - edge
        yield rows, F.embedding_bag(neighbours, nodes, starts, mode="sum", per_sample_weights=weights)
        if edges.file is not None:
            edges.file.let_go(edge, last)


def _edges_before(edges: Edges, node: int) -> int:
    """How many entries of the rows of A belong to nodes before this one."""
    return int(edges.indptr[node]) if node < len(edges.indptr) else len(edges.neighbours)


def in_blocks(edges: Edges, nodes: Tensor) -> bool:
    """Whether rows are taken in turn: of more than a block, by a processor. The sums are the same, bit for bit."""
    return nodes.device.type == "cpu" and len(edges.indptr) > BLOCK_ROWS
