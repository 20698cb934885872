"""Propagation against the dense formula, against autograd, and against torch-geometric."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from glta_encoders.lightgcn import LightGCN
from glta_encoders.settings import LightGCNSettings
from torch import Tensor
from torch_geometric.nn.models import LightGCN as ReferenceLightGCN

from glta_cli.plugin import adjacency
from glta_cli.plugin.interaction_graph import InteractionGraph
from glta_cli.plugin.interactions import Interactions
from glta_cli.training.losses import bpr_loss

Draw = Callable[..., Interactions]


def dense_adjacency(interactions: Interactions) -> Tensor:
    """D^-1/2 (0 R; R^T 0) D^-1/2, as the paper writes it; nodes without an edge have rows of zeros."""
    users, items = interactions.user_count, interactions.item_count
    matrix = torch.zeros(users + items, users + items, dtype=torch.float64)
    matrix[interactions.users, interactions.items + users] = 1
    matrix = matrix + matrix.T
    scale = matrix.sum(1).clamp(min=1).rsqrt()
    return scale[:, None] * matrix * scale


def dense_layer_mean(nodes: Tensor, adjacency: Tensor, layers: int) -> Tensor:
    states = [nodes]
    for _ in range(layers):
        states.append(adjacency @ states[-1])
    return torch.stack(states).mean(0)


@pytest.fixture
def interactions(random_interactions: Draw) -> Interactions:
    drawn = random_interactions(17, 11, share=0.25)
    # Someone who met nothing and something that nobody met, as held-out interactions leave behind.
    kept = (drawn.users != 4) & (drawn.items != 7)
    return Interactions.from_pairs(drawn.users[kept], drawn.items[kept], user_count=17, item_count=11)


def nodes_of(graph: InteractionGraph, dimension: int = 5) -> Tensor:
    return torch.randn(graph.node_count, dimension, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def test_propagation_is_the_product_with_the_normalised_adjacency(interactions: Interactions) -> None:
    graph = InteractionGraph(interactions).double()
    nodes = nodes_of(graph)
    propagated = graph.propagate(nodes)
    torch.testing.assert_close(propagated, dense_adjacency(interactions) @ nodes, rtol=1e-6, atol=1e-7)
    assert (propagated[4] == 0).all()
    assert (propagated[17 + 7] == 0).all()


def test_other_weights_stand_in_for_the_graph_s_own(interactions: Interactions) -> None:
    graph = InteractionGraph(interactions).double()
    scale = torch.rand(graph.node_count, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    ends = torch.cat([graph.indptr[1:], torch.tensor([len(graph.neighbours)])]).long()
    rows = torch.repeat_interleave(torch.arange(graph.node_count), ends - graph.indptr)
    weights = graph.weights * scale[rows] * scale[graph.neighbours.long()]
    expected = scale[:, None] * dense_adjacency(interactions) * scale
    ours, reference = (nodes_of(graph).requires_grad_() for _ in range(2))
    propagated = graph.propagate(ours, weights)
    torch.testing.assert_close(propagated, expected @ reference, rtol=1e-6, atol=1e-7)
    propagated.sigmoid().sum().backward()
    (expected @ reference).sigmoid().sum().backward()
    torch.testing.assert_close(ours.grad, reference.grad, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("layers", [0, 1, 2, 3, 5])
def test_the_layer_mean_and_its_gradient_are_those_of_the_dense_formula(
    interactions: Interactions, layers: int
) -> None:
    graph = InteractionGraph(interactions).double()
    ours, reference = (nodes_of(graph).requires_grad_() for _ in range(2))
    weights = torch.randn(graph.node_count, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    mean = graph.layer_mean(ours, layers)
    expected = dense_layer_mean(reference, dense_adjacency(interactions), layers)
    torch.testing.assert_close(mean, expected, rtol=1e-6, atol=1e-7)
    (mean.sigmoid() * weights).sum().backward()
    (expected.sigmoid() * weights).sum().backward()
    torch.testing.assert_close(ours.grad, reference.grad, rtol=1e-6, atol=1e-7)


def test_the_gradients_pass_the_numerical_check(interactions: Interactions) -> None:
    graph = InteractionGraph(interactions).double()
    nodes = nodes_of(graph, dimension=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda value: graph.layer_mean(value, 3), (nodes,))
    assert torch.autograd.gradcheck(lambda value: graph.layer_mean_of_sides(value, 3), (nodes,))
    assert torch.autograd.gradcheck(lambda value: graph.propagate(graph.propagate(value)), (nodes,))


@pytest.mark.parametrize("rows", [4, 1 << 16], ids=["in blocks", "whole"])
@pytest.mark.parametrize("layers", [0, 1, 3])
def test_the_gradients_of_gradients_are_those_of_the_dense_formula(
    interactions: Interactions, layers: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adjacency, "BLOCK_ROWS", rows)
    graph = InteractionGraph(interactions).double()

    def of_sides(nodes: Tensor) -> Tensor:
        return torch.cat(graph.layer_mean_of_sides(nodes, layers))

    def second(mean_of: Callable[[Tensor], Tensor]) -> Tensor:
        nodes = nodes_of(graph).requires_grad_()
        (gradient,) = torch.autograd.grad(mean_of(nodes).sigmoid().sum(), nodes, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), nodes)[0]

    expected = second(lambda nodes: dense_layer_mean(nodes, dense_adjacency(interactions), layers))
    for ours in (of_sides, lambda nodes: graph.layer_mean(nodes, layers)):
        torch.testing.assert_close(second(ours), expected, rtol=1e-6, atol=1e-9)
    propagated = second(lambda nodes: dense_adjacency(interactions) @ nodes)
    torch.testing.assert_close(second(graph.propagate), propagated, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("layers", [1, 3])
def test_embeddings_and_loss_equal_torch_geometrics_lightgcn(interactions: Interactions, layers: int) -> None:
    graph = InteractionGraph(interactions)
    encoder = LightGCN(graph, LightGCNSettings(dimension=8, layers=layers))
    reference = ReferenceLightGCN(graph.node_count, embedding_dim=8, num_layers=layers)
    with torch.no_grad():
        reference.embedding.weight.copy_(encoder.embeddings)

    def homogeneous(first: str, relation: str, second: str, shifts: tuple[int, int]) -> Tensor:
        return graph.data[first, relation, second].edge_index + torch.tensor(shifts)[:, None]

    edges = torch.cat(
        [homogeneous("user", "interacts", "item", (0, 17)), homogeneous("item", "rev_interacts", "user", (17, 0))], 1
    )
    users, items = encoder()
    expected = reference.get_embedding(edges)
    torch.testing.assert_close(torch.cat([users, items]), expected, rtol=1e-5, atol=1e-5)

    batch = torch.tensor([0, 3, 9]), torch.tensor([1, 2, 10]), torch.tensor([5, 0, 3])
    margins = [(expected[batch[0]] * expected[17 + chosen]).sum(1) for chosen in batch[1:]]
    rows = torch.cat([batch[0], 17 + batch[1], 17 + batch[2]])
    # torch-geometric leaves out the half of LightGCN's own regulariser.
    theirs = reference.recommendation_loss(*margins, node_id=rows, lambda_reg=0.05)
    ours = bpr_loss(users[batch[0]], items[batch[1]], items[batch[2]])
    encoder.settings = LightGCNSettings(regularization=0.1)
    ours = ours + encoder.extra_loss(batch[0], torch.stack(batch[1:]))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_the_encoders_parameters_do_not_depend_on_the_edges(random_interactions: Draw) -> None:
    sparse, dense = (random_interactions(9, 8, share=share) for share in (0.1, 0.6))
    trained = LightGCN(InteractionGraph(sparse), LightGCNSettings(dimension=4, layers=3))
    served = LightGCN(InteractionGraph(dense), LightGCNSettings(dimension=4, layers=3))
    served.load_state_dict(trained.state_dict())
    assert not torch.allclose(served()[0], trained()[0])
    nodes = trained.embeddings.detach().double()
    torch.testing.assert_close(
        torch.cat(served()).double(), dense_layer_mean(nodes, dense_adjacency(dense), 3), rtol=1e-5, atol=1e-6
    )


def test_the_graph_shows_every_interaction_both_ways(interactions: Interactions) -> None:
    graph = InteractionGraph(interactions)
    there = graph.data["user", "interacts", "item"].edge_index
    back = graph.data["item", "rev_interacts", "user"].edge_index
    np.testing.assert_array_equal(there.numpy(), np.stack([interactions.users, interactions.items]))
    assert torch.equal(there.flip(0), back)
    assert len(graph.neighbours) == 2 * len(interactions)


def test_torch_geometrics_graph_moves_along(interactions: Interactions) -> None:
    graph = InteractionGraph(interactions).to("meta")
    assert graph.data["user", "interacts", "item"].edge_index.device.type == "meta"
    assert InteractionGraph(interactions).double().data["user", "interacts", "item"].edge_index.dtype == torch.int64
