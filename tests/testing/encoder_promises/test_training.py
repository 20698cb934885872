"""Encoders that are not trained alike by one seed, by both losses or after a break."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from glta_cli.plugin import InteractionGraph
from glta_cli.testing.contract import Contract
from tests.testing.encoder_promises.factors import Factors, FactorSettings, assert_told, check

SEED = "the same seed of torch"
RESUMED = "a training that is interrupted and resumed"


class NumpyStart(Factors):
    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        self.users.data += torch.from_numpy(np.random.default_rng().normal(size=(graph.user_count, 1))).float()


class NumpyNoise(Factors):
    def forward(self) -> Any:
        noise = np.random.default_rng().normal() if self.training else 0.0
        return self.users + noise, self.items


class TrainsFullBatchesAlone(Factors):
    def extra_loss(self, users: Tensor, items: Tensor) -> Any:
        if items.ndim == 1 and len(users) > 8:
            raise ValueError("more than 8 pairs")
        return super().extra_loss(users, items)


class DivergesUnderBpr(Factors):
    def extra_loss(self, users: Tensor, items: Tensor) -> Any:
        return super().extra_loss(users, items) * (torch.inf if items.ndim == 2 and len(users) == 8 else 1)


class RunningMean(Factors):
    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        self.normalise = nn.BatchNorm1d(settings.dimension)

    def forward(self) -> Any:
        return self.normalise(self.users), self.items


class DropsOutInTraining(Factors):
    """Randomness from torch's own generator resumes; a random buffer belongs to the state."""

    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        torch.randn(len(graph.weights))  # draws as many numbers as there are edges
        self.register_buffer("projection", torch.randn(settings.dimension, settings.dimension))

    def forward(self) -> Any:
        return nn.functional.dropout(self.users, 0.2, self.training) @ self.projection, self.items


@pytest.mark.parametrize(
    ("target", "promise", "seen"),
    [
        (NumpyStart, SEED, "drawn differently: users"),
        (NumpyNoise, SEED, "losses ["),
        (TrainsFullBatchesAlone, "glta pretrain-graph trains it with the loss softmax", "more than 8 pairs"),
        (DivergesUnderBpr, "glta pretrain-graph trains it with the loss bpr", "the loss is inf at step 0"),
        (RunningMean, RESUMED, "the last epoch is"),
    ],
)
def test_a_broken_encoder_is_told_the_promise_it_breaks_and_no_other(
    target: Callable[..., Any], promise: str, seen: str
) -> None:
    assert_told(target, promise, seen)


def test_random_numbers_of_torch_are_drawn_alike_after_a_break() -> None:
    check(Contract("mine"), DropsOutInTraining, FactorSettings())
