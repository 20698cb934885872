"""The adjacency of a large graph, in blocks and mapped from a disk: its sums stay what they are, bit for bit."""

from __future__ import annotations

import gc
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glta_cli.plugin.interaction_graph import InteractionGraph
from glta_cli.plugin.interactions import Interactions

LARGE, FEW = 150_000, 70_001


def drawn(user_count: int, item_count: int) -> Interactions:
    """Three items of every third user, in no order of the items; a third of the users and some items met nobody."""
    generator = np.random.default_rng(0)
    users = np.repeat(np.arange(0, user_count, 3), 3)
    items = (generator.zipf(1.4, len(users)) * 7919) % item_count
    pairs = np.unique(np.stack([users, items], 1), axis=0)
    users, items = generator.permutation(pairs).T
    return Interactions.from_pairs(users, items, user_count=user_count, item_count=item_count)


@pytest.fixture(scope="module", params=[(LARGE, FEW), (FEW, LARGE)], ids=["more users", "more items"])
def large(request: pytest.FixtureRequest) -> Interactions:
    """More nodes than are multiplied at once."""
    return drawn(*request.param)


def whole_product(graph: InteractionGraph, nodes: Tensor) -> Tensor:
    """A·nodes in one call."""
    return F.embedding_bag(graph.neighbours, nodes, graph.indptr, mode="sum", per_sample_weights=graph.weights)


def whole_mean(graph: InteractionGraph, nodes: Tensor, layers: int) -> Tensor:
    mean = nodes
    for layer in range(1, layers + 1):
        mean = whole_product(graph, mean).lerp(nodes, 1 / (layer + 1))
    return mean


def drawn_nodes(graph: InteractionGraph, dimension: int = 5) -> Tensor:
    return torch.randn(graph.node_count, dimension, generator=torch.Generator().manual_seed(2))


def test_the_rows_are_those_of_a_stable_sort_of_both_directions(large: Interactions) -> None:
    graph = InteractionGraph(large)
    users, items = torch.from_numpy(large.users), torch.from_numpy(large.items)
    source = torch.cat([users, items + large.user_count])
    target = torch.cat([items + large.user_count, users])
    order = torch.argsort(source, stable=True)
    degree = torch.bincount(source, minlength=graph.node_count)
    normaliser = degree.clamp(min=1).to(torch.float32).rsqrt()
    assert torch.equal(graph.neighbours, target[order].to(torch.int32))
    assert torch.equal(graph.indptr, F.pad(degree.cumsum(0), (1, 0))[:-1].to(torch.int32))
    assert torch.equal(graph.weights, normaliser[source[order]] * normaliser[target[order]])
    assert torch.equal(graph.degrees, degree.to(torch.int32))


@pytest.mark.parametrize("layers", [0, 1, 2, 3])
def test_a_large_graph_in_blocks_gives_the_sums_of_one_call(large: Interactions, layers: int) -> None:
    graph = InteractionGraph(large)
    nodes = drawn_nodes(graph).requires_grad_()
    mean = graph.layer_mean(nodes, layers)
    assert torch.equal(mean, whole_mean(graph, nodes.detach(), layers))
    gradient = drawn_nodes(graph).flip(0)
    mean.backward(gradient)
    assert nodes.grad is not None
    assert torch.equal(nodes.grad, whole_mean(graph, gradient, layers))


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_a_large_graph_gives_users_and_items_and_takes_their_gradients_apart(large: Interactions, layers: int) -> None:
    graph = InteractionGraph(large)
    nodes = drawn_nodes(graph).requires_grad_()
    users, items = graph.layer_mean_of_sides(nodes, layers)
    assert torch.equal(torch.cat([users, items]), whole_mean(graph, nodes.detach(), layers))
    gradient = drawn_nodes(graph).flip(0)
    sides = gradient.split([graph.user_count, graph.item_count])
    assert torch.equal(
        torch.autograd.grad((users, items), nodes, sides, retain_graph=True)[0], whole_mean(graph, gradient, layers)
    )
    gradient[: graph.user_count] = 0
    assert torch.equal(torch.autograd.grad(items, nodes, sides[1])[0], whole_mean(graph, gradient, layers))


def test_one_product_in_blocks_gives_the_sums_of_one_call(large: Interactions) -> None:
    graph = InteractionGraph(large)
    nodes = drawn_nodes(graph)
    expected = whole_product(graph, nodes)
    assert torch.equal(graph.propagate(nodes), expected)
    assert torch.equal(graph.to_users(nodes[graph.user_count :]), expected[: graph.user_count])
    assert torch.equal(graph.to_items(nodes[: graph.user_count]), expected[graph.user_count :])
    by_column = nodes[graph.user_count :].T.contiguous().T
    assert torch.equal(graph.to_users(by_column), expected[: graph.user_count])


def test_edges_on_a_disk_are_the_same_and_leave_no_file(large: Interactions, tmp_path: Path) -> None:
    here, there = InteractionGraph(large), InteractionGraph(large, tmp_path / "edges")
    for name in ("indptr", "neighbours", "weights"):
        assert torch.equal(getattr(here, name), getattr(there, name)), name
    nodes = drawn_nodes(here)
    for _ in range(2):  # what left memory after the first is read again
        assert torch.equal(there.layer_mean(nodes, 2), here.layer_mean(nodes, 2))
    assert not list((tmp_path / "edges").iterdir())


def test_a_graph_without_an_edge_can_be_kept_on_a_disk(tmp_path: Path) -> None:
    graph = InteractionGraph(Interactions.from_pairs([], [], user_count=2, item_count=3), tmp_path)
    assert torch.equal(graph.propagate(torch.ones(5, 2)), torch.zeros(5, 2))


def test_torch_geometrics_graph_is_made_once(large: Interactions) -> None:
    graph = InteractionGraph(large)
    assert graph.data is graph.data


@pytest.mark.parametrize("mapped", [False, True], ids=["in memory", "on a disk"])
def test_a_copy_of_a_graph_outlives_it(tmp_path: Path, mapped: bool) -> None:
    graph = InteractionGraph(drawn(300, 200), tmp_path if mapped else None)
    holder = nn.ModuleDict({"graph": graph, "scale": nn.Linear(1, 1)})
    nodes = drawn_nodes(graph)
    expected = graph.propagate(nodes)
    copied = deepcopy(holder)["graph"]
    assert copied is not graph
    assert isinstance(copied, InteractionGraph)
    # What is on a disk may not fit into memory, so that the copy reads it there too.
    assert (copied.neighbours.data_ptr() == graph.neighbours.data_ptr()) is mapped
    copied.to(torch.float64)
    assert graph.weights.dtype == torch.float32
    copied.to(torch.float32)
    del graph, holder
    gc.collect()
    assert torch.equal(copied.propagate(nodes), expected)
