"""Samples of neighbourhoods by torch-geometric's loader, for graphs too large to be propagated whole."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from glta_cli.core.errors import GltaError, InputError
from glta_cli.plugin.interaction_graph import InteractionGraph
from glta_cli.plugin.node_sample import NodeSample

# What the loader takes for all neighbours.
ALL = -1


class NeighbourSampler:
    """Draws the neighbourhoods of nodes, by torch's own generator: a training that is resumed draws the same.

    Args:
        counts: how many neighbours are drawn of each node, by hop; ALL for all.
    """

    def __init__(self, graph: InteractionGraph, counts: Sequence[int]) -> None:
        from torch_geometric import typing as available
        from torch_geometric.data import Data
        from torch_geometric.loader import NeighborLoader

        self.graph = graph
        self.counts = list(counts)
        nodes = torch.arange(graph.node_count)
        degrees = graph.degrees.cpu().long()
        # The rows of A are sorted by the node that is reached, as the loader wants them. int64 [2, 2E]
        edges = torch.stack([graph.neighbours.cpu().long(), torch.repeat_interleave(nodes, degrees)])
        self.loader = NeighborLoader(
            Data(edge_index=edges, num_nodes=graph.node_count),
            num_neighbors=self.counts,
            batch_size=1,  # it is asked for batches of our own
            is_sorted=True,
            # torch-sparse 0.6.18 draws the first of a node's neighbours too often where it draws none twice: its
            # form of Floyd's algorithm never proposes the last index of each round.
            replace=not available.WITH_PYG_LIB,
        )
        self.degrees = degrees

    def sample(self, wanted: Tensor) -> NodeSample:
        """The neighbourhoods of distinct nodes, int64 [n]."""
        drawn: Any = self.loader(wanted.cpu())
        sources, targets = drawn.edge_index
        sampled = torch.bincount(targets, minlength=len(drawn.n_id))
        scale = self.degrees[drawn.n_id] / sampled.clamp(min=1)
        weights = self.graph.weights[drawn.e_id.to(self.graph.weights.device)]
        device = weights.device
        return NodeSample(
            nodes=drawn.n_id.to(device),
            wanted=len(wanted),
            targets=targets.to(device),
            sources=sources.to(device),
            weights=weights * scale[targets].to(device),
            hops=len(self.counts),
        )


def require_sampling(encoder: nn.Module, name: str, counts: Sequence[int]) -> None:
    """Raise where neighbours cannot be sampled: by this encoder, as often as that, or on this machine.

    Raises:
        InputError: the encoder takes the whole graph, or propagates another number of times.
        GltaError: torch-geometric has nothing to draw with.
    """
    asked = getattr(encoder, "sampled_hops", None)
    hops = None if asked is None else asked()
    if hops is None:
        raise InputError(
            f"graph.neighbours: {name} is trained on the whole graph and takes no samples of it",
            location="recipe",
            hint="leave it out: --set graph.neighbours=null; lightgcn takes samples",
        )
    if hops != len(counts):
        raise InputError(
            f"graph.neighbours: {len(counts)} numbers, one a propagation; {name} propagates {hops} times",
            location="recipe",
            hint="give as many numbers, or set graph.options.layers",
        )
    require_backend()


def require_backend() -> None:
    """Raise `GltaError` where torch-geometric has nothing to draw neighbours with."""
    from torch_geometric import typing as available

    if not (available.WITH_PYG_LIB or available.WITH_TORCH_SPARSE):
        version = re.match(r"[0-9.]+(?:\+[a-z0-9]+)?", torch.__version__)
        wheels = f"https://data.pyg.org/whl/torch-{version[0] if version else torch.__version__}.html"
        raise GltaError(
            "graph.neighbours: torch-geometric draws neighbours by pyg-lib or torch-sparse, and neither is installed",
            hint=f"pip install pyg-lib -f {wheels}; or take the whole graph: --set graph.neighbours=null",
        )
