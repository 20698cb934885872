"""Encoders that break a promise of their constructor or of `forward()`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from glta_cli.plugin import InteractionGraph, Settings
from tests.testing.encoder_promises.factors import (
    Factors,
    FactorSettings,
    ProjectedTexts,
    assert_told,
    breaches,
    degrees,
)

MADE = "its target makes a torch.nn.Module"
FORWARD = "forward() returns users [U, d] and items [I, d]"


class NotAModule:
    def __init__(self, graph: InteractionGraph, settings: Any) -> None: ...


class NothingToTrain(Factors):
    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        self.requires_grad_(False)


class OtherConstructor(Factors):
    def __init__(self, graph: InteractionGraph, settings: Any, layers: int) -> None:
        super().__init__(graph, settings)


class AsksForNoTexts(ProjectedTexts):
    needs_text_vectors = False


class ItemsFirst(Factors):
    def forward(self) -> Any:
        return self.items, self.users


class OneMatrix(Factors):
    def forward(self) -> Any:
        return torch.cat([self.users, self.items])


class HalfPrecision(Factors):
    def forward(self) -> Any:
        return self.users.bfloat16(), self.items.bfloat16()


class DividesByDegree(Factors):
    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        self.register_buffer("degrees", degrees(graph)[:, None], persistent=False)

    def forward(self) -> Any:
        return self.users / self.degrees, self.items


class AlwaysDropsOut(Factors):
    def forward(self) -> Any:
        return nn.functional.dropout(self.users, 0.5), self.items


@pytest.mark.parametrize(
    ("target", "promise", "seen"),
    [
        (NotAModule, MADE, "it makes a NotAModule"),
        (NothingToTrain, MADE, "no parameter requires a gradient"),
        (OtherConstructor, MADE, "missing 1 required positional argument: 'layers'"),
        (ItemsFirst, FORWARD, "users have the shape [17, 6], not [13, 6]"),
        (OneMatrix, FORWARD, "it returns a Tensor"),
        (HalfPrecision, FORWARD, "users are torch.bfloat16"),
        (DividesByDegree, FORWARD, "users [5] are not finite"),
        (AlwaysDropsOut, "in eval mode forward() gives the same", "two calls differ by up to"),
        (AsksForNoTexts, MADE, "missing 1 required positional argument: 'text_vectors'"),
    ],
)
def test_a_broken_encoder_is_told_the_promise_it_breaks_and_no_other(
    target: Callable[..., Any], promise: str, seen: str
) -> None:
    assert_told(target, promise, seen)


@pytest.mark.parametrize("dimension", [6.0, True, None])
def test_the_dimension_is_an_integer(dimension: Any) -> None:
    class OddSettings(Settings):
        dimension: Any = None

    def target(graph: InteractionGraph, settings: Any) -> Factors:
        return Factors(graph, FactorSettings())

    [breach] = breaches(target, OddSettings(dimension=dimension))
    assert breach.startswith("its settings have an integer `dimension`")
    assert f"it is {dimension!r}" in breach
