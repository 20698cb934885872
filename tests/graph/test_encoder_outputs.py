"""An encoder's slip is named when it is made, not by whatever stumbles over it later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from glta_cli.core.errors import PluginError
from glta_cli.graph.encoder_outputs import checked_encoder
from glta_cli.plugin.interaction_graph import InteractionGraph

USERS, ITEMS, DIMENSION = 7, 5, 4
WANTED = "users [7, 4] and items [5, 4], float32"


class Encoder(nn.Module):
    """Returns what it is told to."""

    def __init__(self, outputs: Any, loss: Any) -> None:
        super().__init__()
        self.outputs, self.loss = outputs, loss

    def forward(self) -> Any:
        return self.outputs

    def extra_loss(self, users: torch.Tensor, items: torch.Tensor) -> Any:
        return torch.rand(()) if self.loss is None else self.loss


@pytest.fixture
def graph(random_interactions: Callable[..., Any]) -> InteractionGraph:
    return InteractionGraph(random_interactions(USERS, ITEMS))


def vectors(users: int = USERS, items: int = ITEMS, **kind: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.ones(users, DIMENSION, **kind), torch.ones(items, DIMENSION, **kind)


def test_a_right_encoder_passes_and_draws_nothing(graph: InteractionGraph) -> None:
    encoder = Encoder(vectors(), None)
    before = torch.get_rng_state()
    assert checked_encoder(encoder, graph, DIMENSION) is encoder
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("outputs", "loss", "told"),
    [
        (vectors()[0], None, f"forward() returns a tensor [7, 4], float32, not a pair: {WANTED}"),
        ((*vectors(), 3), None, f"forward() returns 3 values, not a pair: {WANTED}"),
        (None, None, f"forward() returns a NoneType, not a pair: {WANTED}"),
        (vectors()[::-1], None, f"forward() returns users that are a tensor [5, 4], float32, not {WANTED}"),
        (vectors(items=6), None, f"forward() returns items that are a tensor [6, 4], float32, not {WANTED}"),
        (
            vectors(dtype=torch.float64),
            None,
            f"forward() returns users that are a tensor [7, 4], float64, not {WANTED}",
        ),
        ((vectors()[0].numpy(), 1), None, f"forward() returns users that are a ndarray, not {WANTED}"),
        (vectors(), 0.5, "extra_loss() returns a float, not a scalar tensor of floating point"),
        (vectors(), torch.ones(2), "extra_loss() returns a tensor [2], float32, not a scalar tensor of floating point"),
        (vectors(), torch.tensor(2), "extra_loss() returns a tensor [], int64, not a scalar tensor of floating point"),
    ],
)
def test_a_slip_is_named(graph: InteractionGraph, outputs: Any, loss: Any, told: str) -> None:
    with pytest.raises(PluginError) as caught:
        checked_encoder(Encoder(outputs, loss), graph, DIMENSION)
    assert str(caught.value) == told


def test_what_is_no_module_is_named(graph: InteractionGraph) -> None:
    with pytest.raises(PluginError, match=r"it makes a list, not a torch\.nn\.Module"):
        checked_encoder([], graph, DIMENSION)


class SequenceEncoder(nn.Module):
    """Returns what it is told to, of histories."""

    reads_histories = True

    def __init__(self, longest: Any, items: Any, states: Any) -> None:
        super().__init__()
        self.longest, self.items_given, self.states = longest, items, states

    def longest_history(self) -> Any:
        return self.longest

    def items(self) -> Any:
        return self.items_given

    def encode(self, histories: torch.Tensor) -> Any:
        return torch.ones(*histories.shape, DIMENSION) if self.states is None else self.states


@pytest.mark.parametrize("longest", [1, 50])
def test_a_right_sequence_encoder_passes(graph: InteractionGraph, longest: int) -> None:
    encoder = SequenceEncoder(longest, vectors()[1], None)
    assert checked_encoder(encoder, graph, DIMENSION) is encoder


@pytest.mark.parametrize(
    ("longest", "items", "states", "told"),
    [
        (0, vectors()[1], None, "longest_history() returns 0, not a number of items from 1 on"),
        (2.0, vectors()[1], None, "longest_history() returns 2.0, not a number of items from 1 on"),
        (9, vectors()[0], None, "items() returns a tensor [7, 4], float32, not [5, 4], float32"),
        (
            9,
            vectors()[1],
            torch.ones(2, DIMENSION),
            "encode() of histories [2, 2] returns a tensor [2, 4], float32, not [2, 2, 4], float32",
        ),
    ],
)
def test_a_slip_of_a_sequence_encoder_is_named(
    graph: InteractionGraph, longest: Any, items: Any, states: Any, told: str
) -> None:
    with pytest.raises(PluginError) as caught:
        checked_encoder(SequenceEncoder(longest, items, states), graph, DIMENSION)
    assert str(caught.value) == told
