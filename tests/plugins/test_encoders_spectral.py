"""The singular vectors of the normalised interaction matrix, and LightGCN's start at them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from glta_encoders.lightgcn import LightGCN
from glta_encoders.settings import LightGCNSettings
from glta_encoders.spectral import singular_vectors
from torch import Tensor

from glta_cli.plugin.interaction_graph import InteractionGraph
from glta_cli.plugin.interactions import Interactions

Draw = Callable[..., Interactions]


def normalised(interactions: Interactions) -> Tensor:
    """R[u, i] = 1 / sqrt(degree(u) · degree(i)), dense."""
    matrix = torch.zeros(interactions.user_count, interactions.item_count)
    matrix[interactions.users, interactions.items] = 1
    users, items = (matrix.sum(axis).clamp(min=1) for axis in (1, 0))
    return matrix / (users[:, None] * items).sqrt()


def two_tastes() -> Interactions:
    """Users 0-29 met items 0-14 only, users 30-59 items 15-29; user 60 and item 30 met nobody."""
    generator = torch.Generator().manual_seed(0)
    met = torch.rand(60, 30, generator=generator) < 0.5
    met[:30, 15:] = False
    met[30:, :15] = False
    users, items = met.nonzero().T
    return Interactions.from_pairs(users, items, user_count=61, item_count=31)


def test_they_are_those_of_the_dense_matrix(random_interactions: Draw) -> None:
    interactions = random_interactions(50, 30, share=0.2)
    torch.manual_seed(0)
    found = singular_vectors(InteractionGraph(interactions), 4)
    left, values, right = torch.linalg.svd(normalised(interactions), full_matrices=False)
    torch.testing.assert_close(found.values, values[:4], rtol=1e-3, atol=1e-4)
    best = (left[:, :4] * values[:4]) @ right[:4]
    torch.testing.assert_close((found.users * found.values) @ found.items.T, best, rtol=0, atol=2e-2)
    torch.testing.assert_close(found.users.T @ found.users, torch.eye(4), rtol=0, atol=1e-4)


def test_a_rank_beyond_the_matrix_is_the_matrix(random_interactions: Draw) -> None:
    interactions = random_interactions(7, 5, share=0.5)
    torch.manual_seed(0)
    found = singular_vectors(InteractionGraph(interactions), 64)
    assert found.users.shape == (7, 5)
    rebuilt = (found.users * found.values) @ found.items.T
    torch.testing.assert_close(rebuilt, normalised(interactions), rtol=0, atol=1e-5)


def test_lightgcn_tells_two_tastes_apart_before_any_training() -> None:
    torch.manual_seed(0)
    encoder = LightGCN(InteractionGraph(two_tastes()), LightGCNSettings(dimension=2))
    with torch.no_grad():
        users, items = encoder()
    scores = users[:60] @ items[:30].T
    assert scores[:30, :15].min() > scores[:30, 15:].max()
    assert scores[30:, 15:].min() > scores[30:, :15].max()


def five_blocks() -> Interactions:
    """Everyone of users 20b to 20b + 19 met every one of items 16b to 16b + 15, b = 0..4: a matrix of rank 5."""
    met = torch.block_diag(*[torch.ones(20, 16)] * 5)
    users, items = met.nonzero().T
    return Interactions.from_pairs(users, items, user_count=100, item_count=80)


def test_there_are_no_more_of_them_than_the_rank() -> None:
    torch.manual_seed(0)
    found = singular_vectors(InteractionGraph(five_blocks()), 64)
    torch.testing.assert_close(found.values, torch.ones(5))
    rebuilt = (found.users * found.values) @ found.items.T
    torch.testing.assert_close(rebuilt, normalised(five_blocks()), rtol=0, atol=1e-5)


def test_without_an_edge_there_are_none() -> None:
    graph = InteractionGraph(Interactions.from_pairs([], [], user_count=3, item_count=2))
    found = singular_vectors(graph, 4)
    assert (found.users.shape, found.values.shape, found.items.shape) == ((3, 0), (0,), (2, 0))


def test_equal_neighbourhoods_start_at_equal_rows_and_foreign_ones_do_not() -> None:
    torch.manual_seed(0)
    graph = InteractionGraph(five_blocks())
    start = LightGCN(graph, LightGCNSettings(dimension=64)).embeddings.detach()
    block = torch.cat([torch.arange(5).repeat_interleave(20), torch.arange(5).repeat_interleave(16)])
    alike = (block[:, None] == block).float()
    rows = F.normalize(start[:, :5], dim=1)  # the columns the rank fills
    torch.testing.assert_close(rows @ rows.T, alike, rtol=0, atol=1e-4)
    # The others are noise, and that is no larger and no smaller than what was found.
    for part in (start[:, :5], start[:, 5:]):
        torch.testing.assert_close(part.square().mean().sqrt(), torch.tensor(0.1), rtol=0.05, atol=0)


@pytest.mark.parametrize("start", ["spectral", "random"])
def test_every_node_starts_at_the_stated_scale(start: str) -> None:
    torch.manual_seed(0)
    # More columns than the matrix has singular vectors, and two nodes without an edge.
    settings = LightGCNSettings.model_validate({"dimension": 256, "start": start, "initial_scale": 0.3})
    lengths = LightGCN(InteractionGraph(two_tastes()), settings).embeddings.detach().square().mean(1).sqrt()
    torch.testing.assert_close(lengths, torch.full((92,), 0.3), rtol=0.3, atol=0)


def test_the_start_is_a_function_of_the_seed(random_interactions: Draw) -> None:
    graph = InteractionGraph(random_interactions(40, 30))

    def start(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return LightGCN(graph, LightGCNSettings(dimension=4)).embeddings.detach()

    assert torch.equal(start(1), start(1))
    assert not torch.equal(start(1), start(2))
