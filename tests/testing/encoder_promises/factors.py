"""The smallest encoders that keep every promise, to be changed so that they break one, and what a check says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from glta_cli.plugin import InteractionGraph, Settings
from glta_cli.testing import ContractError
from glta_cli.testing.contract import Contract
from glta_cli.testing.encoder import encoder_promises


class FactorSettings(Settings):
    dimension: int = 6


class Factors(nn.Module):
    """Matrix factorisation that keeps every promise."""

    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__()
        self.graph = graph
        self.users = nn.Parameter(0.1 * torch.randn(graph.user_count, settings.dimension))
        self.items = nn.Parameter(0.1 * torch.randn(graph.item_count, settings.dimension))

    def forward(self) -> Any:
        return self.users, self.items

    def extra_loss(self, users: Tensor, items: Tensor) -> Any:
        return 1e-3 * (self.users[users].square().mean() + self.items[items].square().mean())


class ProjectedTexts(Factors):
    """Takes text vectors and keeps every promise."""

    needs_text_vectors = True

    def __init__(self, graph: InteractionGraph, settings: Any, text_vectors: Tensor) -> None:
        super().__init__(graph, settings)
        self.project = nn.Linear(text_vectors.shape[1], settings.dimension)
        self.keep(text_vectors)

    def keep(self, text_vectors: Tensor) -> None:
        self.register_buffer("texts", text_vectors, persistent=False)

    def forward(self) -> Any:
        return self.users, self.items + self.project(self.texts)


def degrees(graph: InteractionGraph) -> Tensor:
    """Edges of each user, [U]."""
    edges = graph.data["user", "interacts", "item"].edge_index
    return torch.bincount(edges[0], minlength=graph.user_count).float()


def check(contract: Contract, target: Callable[..., Any], settings: Any) -> None:
    encoder_promises(contract, target, settings)
    contract.settle()


def breaches(target: Callable[..., Any], settings: Any) -> list[str]:
    """What an encoder is told, promise by promise."""
    contract = Contract("encoder 'mine'")
    with pytest.raises(ContractError) as told:
        check(contract, target, settings)
    assert all(breach in str(told.value) for breach in contract.breaches)
    return contract.breaches


def assert_told(target: Callable[..., Any], promise: str, seen: str) -> None:
    """An encoder is told that it breaks this promise and no other, with what was seen."""
    [breach] = breaches(target, FactorSettings())
    assert breach.startswith(promise)
    assert seen in breach
