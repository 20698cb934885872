"""What an encoder promises that takes samples of its graph: with every neighbour in it, a sample is the whole graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from glta_cli.plugin.interaction_graph import InteractionGraph
from glta_cli.plugin.node_sample import NodeSample
from glta_cli.testing.agreement import distance
from glta_cli.testing.contract import Contract
from glta_cli.testing.encoder_promises.trial import Encoders

# Users and items that are asked for, in no order.
WANTED_USERS, WANTED_ITEMS = (7, 0, 12), (16, 3)


def sample_promises(contract: Contract, encoders: Encoders) -> None:
    """What `of_sample` gives, of an encoder that has it and says how often it propagates."""
    encoder = encoders.draw()
    hops = encoder.sampled_hops() if hasattr(encoder, "sampled_hops") else None
    if hops is None:
        return
    with contract.promise("of_sample() gives what forward() does where the sample holds every neighbour"):
        _check_whole(encoder, hops)


def _check_whole(encoder: Any, hops: int) -> None:
    assert isinstance(hops, int), f"sampled_hops() returns {hops!r}, not a number"
    graph = encoder.graph
    wanted = torch.tensor([*WANTED_USERS, *(graph.user_count + item for item in WANTED_ITEMS)])
    encoder.eval()
    with torch.no_grad():
        expected = torch.cat(encoder())[wanted]  # [n, d]
        found = encoder.of_sample(whole_sample(graph, wanted, hops))
    assert isinstance(found, Tensor), f"it returns a {type(found).__name__}"
    assert found.shape == expected.shape, f"it returns {list(found.shape)}, not {list(expected.shape)}"
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5), (
        f"they differ by up to {distance(expected, found):.3g}"
    )


def whole_sample(graph: InteractionGraph, wanted: Tensor, hops: int) -> NodeSample:
    """All of a graph as a sample, the wanted nodes first."""
    others = torch.ones(graph.node_count, dtype=torch.bool).index_fill(0, wanted, False).nonzero().flatten()
    nodes = torch.cat([wanted, others])
    places = torch.empty_like(nodes).scatter_(0, nodes, torch.arange(graph.node_count))
    rows = torch.repeat_interleave(torch.arange(graph.node_count), graph.degrees)
    return NodeSample(
        nodes=nodes,
        wanted=len(wanted),
        targets=places[rows],
        sources=places[graph.neighbours.long()],
        weights=graph.weights,
        hops=hops,
    )
