"""Encoders that save too much or too little, or change what they are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from glta_cli.plugin import InteractionGraph
from glta_cli.testing.contract import Contract
from tests.testing.encoder_promises.factors import Factors, FactorSettings, ProjectedTexts, assert_told, check, degrees

GRAPH = "it leaves the graph as it is given"


class WeightOfEachEdge(Factors):
    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        self.weights = nn.Parameter(torch.ones(len(graph.weights)))

    def forward(self) -> Any:
        return self.users * self.weights.mean(), self.items


class KeepsDegrees(Factors):
    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        self.register_buffer("degrees", degrees(graph)[:, None])

    def forward(self) -> Any:
        return self.users * (1 + self.degrees).rsqrt(), self.items


class ScaleOutsideTheState(Factors):
    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        self.scale = float(torch.rand(()))

    def forward(self) -> Any:
        return self.users * self.scale, self.items


class MarksTheGraph(Factors):
    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        graph.data["user"].x = torch.ones(graph.user_count, 1)


class ScalesTheGraph(Factors):
    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        graph.weights.mul_(0.5)


class SavesTexts(ProjectedTexts):
    def keep(self, text_vectors: Tensor) -> None:
        self.register_buffer("texts", text_vectors)


class ScalesTexts(ProjectedTexts):
    def keep(self, text_vectors: Tensor) -> None:
        self.register_buffer("texts", text_vectors.mul_(2), persistent=False)


@pytest.mark.parametrize(
    ("target", "promise", "seen"),
    [
        (WeightOfEachEdge, "its parameters depend on the numbers of users and items", "weights is ["),
        (KeepsDegrees, "what follows from the edges is not in its state dict", "persistent=False: degrees"),
        (ScaleOutsideTheState, "its state dict, through safetensors", "they differ by up to"),
        (MarksTheGraph, GRAPH, "changed: data['user'].x"),
        (ScalesTheGraph, GRAPH, "changed: weights"),
        (SavesTexts, "what follows from the item texts is not in its state dict", "persistent=False: texts"),
        (ScalesTexts, "it leaves the text vectors as they are given", "changed"),
    ],
)
def test_a_broken_encoder_is_told_the_promise_it_breaks_and_no_other(
    target: Callable[..., Any], promise: str, seen: str
) -> None:
    assert_told(target, promise, seen)


def test_one_that_takes_texts_keeps_every_promise() -> None:
    check(Contract("mine"), ProjectedTexts, FactorSettings())
