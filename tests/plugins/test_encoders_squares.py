"""Promises: the regulariser's gradient is that of its formula, bit for bit, and takes no table of all nodes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from glta_encoders import squares
from glta_encoders.squares import halved_squares
from torch import Tensor

from glta_cli.plugin.interaction_graph import InteractionGraph
from glta_cli.plugin.interactions import Interactions

USERS, ITEMS, WIDTH = 30, 20, 6


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> InteractionGraph:
    monkeypatch.setattr(squares, "BLOCK_ROWS", 7)
    pairs = np.arange(USERS), np.arange(USERS) % ITEMS
    return InteractionGraph(Interactions.from_pairs(*pairs, user_count=USERS, item_count=ITEMS))


def formula(embeddings: Tensor, users: Tensor, items: Tensor) -> Tensor:
    nodes = torch.cat([users, items.flatten() + USERS])
    return 0.5 * F.embedding(nodes, embeddings).square().sum() / len(users)


def a_batch() -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings, users and items, of which the first is there a hundred times."""
    generator = torch.Generator().manual_seed(0)
    users, items = (torch.randint(0, most, (300,), generator=generator) for most in (USERS - 5, ITEMS - 5))
    items[:100] = 0
    return torch.randn(USERS + ITEMS, WIDTH, generator=generator), users, items


def test_squares_and_their_gradient_are_those_of_the_formula(graph: InteractionGraph) -> None:
    table, users, items = a_batch()
    ours, plain = table.clone().requires_grad_(), table.clone().requires_grad_()
    # What else is made of the embeddings has a dense gradient, as it has in every step.
    loss, expected = 0.3 * halved_squares(ours, graph, users, items), 0.3 * formula(plain, users, items)
    assert torch.equal(loss, expected)
    (ours.sigmoid().sum() + loss).backward()
    (plain.sigmoid().sum() + expected).backward()
    assert ours.grad is not None
    assert ours.grad.layout == torch.strided
    assert torch.equal(ours.grad, plain.grad)


def test_the_gradient_alone_has_rows_of_the_batch_only(graph: InteractionGraph) -> None:
    table, users, items = a_batch()
    ours = table.requires_grad_()
    (gradient,) = torch.autograd.grad(halved_squares(ours, graph, users, items), ours)
    assert gradient.is_sparse
    assert len(gradient.values()) == len(users.unique()) + len(items.unique())
    (expected,) = torch.autograd.grad(formula(ours, users, items), ours)
    assert torch.equal(gradient.to_dense(), expected)
