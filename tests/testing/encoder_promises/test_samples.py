"""Encoders that are trained on samples of the graph, and some that break what they promise of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from glta_cli.plugin import InteractionGraph, NodeSample
from glta_cli.testing.contract import Contract
from tests.testing.encoder_promises.factors import Factors, FactorSettings, breaches, check

WHOLE = "of_sample() gives what forward() does where the sample holds every neighbour"


class TwoHops(Factors):
    """Propagates twice, and keeps every promise."""

    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        self.mixed = nn.Parameter(torch.ones(settings.dimension))

    def nodes(self) -> Tensor:
        return torch.cat([self.users, self.items]) * self.mixed

    def forward(self) -> Any:
        found = self.graph.propagate(self.graph.propagate(self.nodes())) + self.nodes()
        return found.split([self.graph.user_count, self.graph.item_count])

    def sampled_hops(self) -> Any:
        return 2

    def of_sample(self, sample: NodeSample) -> Any:
        nodes = self.nodes()[sample.nodes]
        return (sample.propagate(sample.propagate(nodes)) + nodes)[: sample.wanted]


class OneHopLess(TwoHops):
    def of_sample(self, sample: NodeSample) -> Any:
        nodes = self.nodes()[sample.nodes]
        return (sample.propagate(nodes) + nodes)[: sample.wanted]


class AllNodes(TwoHops):
    def of_sample(self, sample: NodeSample) -> Any:
        return self.nodes()[sample.nodes]


class UncertainHops(TwoHops):
    def sampled_hops(self) -> Any:
        return "two"


@pytest.mark.parametrize(
    ("target", "reason"),
    [(OneHopLess, "they differ by up to"), (AllNodes, "it returns [30, 6], not [5, 6]"), (UncertainHops, "'two'")],
)
def test_what_is_wrong_with_samples_is_told(target: Callable[..., Any], reason: str) -> None:
    told = [each for each in breaches(target, FactorSettings()) if WHOLE in each]
    assert len(told) == 1
    assert reason in told[0]


def test_an_encoder_that_takes_samples_keeps_every_promise() -> None:

    check(Contract("encoder 'mine'"), TwoHops, FactorSettings())
