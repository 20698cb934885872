"""Encoders that leave a tensor behind when they are moved, and how the tensors of one are found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from glta_cli.plugin import InteractionGraph
from glta_cli.testing.contract import Contract
from glta_cli.testing.encoder_promises.devices import held_tensors
from tests.testing.encoder_promises.factors import Factors, FactorSettings, ProjectedTexts, assert_told, check

MOVES = "every tensor it holds follows .to(device)"


class BareTensor(Factors):
    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        self.edges = graph.data["user", "interacts", "item"].edge_index


class TensorsInADict(Factors):
    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        self.views = {"users": [torch.ones(2)]}


class LayersInAList(Factors):
    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        generator = torch.random.get_rng_state()
        torch.manual_seed(0)  # alike in every encoder, so that nothing but its place is wrong
        self.layers = [nn.Linear(settings.dimension, settings.dimension)]
        torch.random.set_rng_state(generator)

    def forward(self) -> Any:
        return self.layers[0](self.users), self.items


class LeavesTextsBehind(ProjectedTexts):
    def keep(self, text_vectors: Tensor) -> None:
        self.texts = text_vectors


class MovesByHand(Factors):
    """A tensor that is no buffer, but moved by the module itself; a registered parameter in a list as well."""

    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        self.ones = torch.ones(graph.user_count, 1)
        self.tables = [self.users, self.items]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        self.ones = fn(self.ones)
        return super()._apply(fn, recurse)

    def forward(self) -> Any:
        return self.users * self.ones, self.items


@pytest.mark.parametrize(
    ("target", "promise", "seen"),
    [
        (BareTensor, MOVES, "left behind: edges"),
        (TensorsInADict, MOVES, "left behind: views.users.0"),
        (LayersInAList, MOVES, "left behind: layers.0.weight, layers.0.bias"),
        (LeavesTextsBehind, MOVES, "left behind: texts"),
    ],
)
def test_a_broken_encoder_is_told_the_promise_it_breaks_and_no_other(
    target: Callable[..., Any], promise: str, seen: str
) -> None:
    assert_told(target, promise, seen)


def test_a_tensor_that_the_module_moves_itself_need_be_no_buffer() -> None:
    check(Contract("mine"), MovesByHand, FactorSettings())


def test_tensors_are_found_in_containers_that_hold_each_other() -> None:
    module = nn.Linear(2, 2)
    module.parts = {"again": module, "more": (torch.ones(1), [torch.zeros(1)])}
    assert sorted(path for path, _ in held_tensors(module)) == ["bias", "parts.more.0", "parts.more.1.0", "weight"]
