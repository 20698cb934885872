"""Encoders that break a promise of `extra_loss()` or of gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from glta_cli.plugin import InteractionGraph
from glta_cli.testing.contract import Contract
from tests.testing.encoder_promises.factors import Factors, FactorSettings, assert_told, check

EXTRA = "extra_loss(users [B], items [B] or [2, B]) is a finite scalar"
ATTACHED = "a loss of what forward() returns trains parameters"
GRADIENT = "every parameter that requires a gradient gets a finite one"


class ExtraOfEach(Factors):
    def extra_loss(self, users: Tensor, items: Tensor) -> Any:
        return self.users[users].square().sum(1)


class ExtraNumber(Factors):
    def extra_loss(self, users: Tensor, items: Tensor) -> Any:
        return 0.0


class ExtraOfPairsAlone(Factors):
    def extra_loss(self, users: Tensor, items: Tensor) -> Any:
        positives, negatives = items
        return (self.items[positives] - self.items[negatives]).square().mean()


class ExtraNeedsDistinctUsers(Factors):
    def extra_loss(self, users: Tensor, items: Tensor) -> Any:
        apart = torch.pdist(self.users[users]) if len(users) > 1 else self.users[users]
        return 1e-3 * (1 / apart).square().mean().sqrt()


class ExtraSpread(Factors):
    def extra_loss(self, users: Tensor, items: Tensor) -> Any:
        apart = self.users[users] - self.users[users].mean(0)
        return 1e-3 * (apart.square().sum(0) / (len(users) - 1)).mean()


class Detached(Factors):
    """Only its regulariser would be trained."""

    def forward(self) -> Any:
        return self.users.detach(), self.items.detach()


class ItemsDetached(Factors):
    def forward(self) -> Any:
        return self.users, self.items.detach()


class UnusedLayer(Factors):
    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        self.unused = nn.Linear(2, 2)


class RootOfZero(Factors):
    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        self.shift = nn.Parameter(torch.zeros(graph.user_count, 1))

    def forward(self) -> Any:
        return self.users + self.shift.sqrt(), self.items


class CachesAView(Factors):
    """What forward keeps for extra_loss is made anew at every call, so it need not follow the module."""

    def forward(self) -> Any:
        self.last = self.users * 1
        return self.last, self.items

    def extra_loss(self, users: Tensor, items: Tensor) -> Any:
        return 1e-3 * self.last[users].square().mean()


@pytest.mark.parametrize(
    ("target", "promise", "seen"),
    [
        (ExtraOfEach, EXTRA, "its shape is [6] for users [6] and items [6]"),
        (ExtraNumber, EXTRA, "it is a float for users [6] and items [6]"),
        (ExtraOfPairsAlone, EXTRA, "too many values to unpack"),
        (ExtraNeedsDistinctUsers, "extra_loss takes batches in which users and items stand", "it is inf for users [6]"),
        (ExtraSpread, "extra_loss takes a batch of one", "it is nan for users [1] and items [1]"),
        (Detached, ATTACHED, "users need no gradient"),
        (ItemsDetached, ATTACHED, "items need no gradient"),
        (UnusedLayer, GRADIENT, "none: unused.weight, unused.bias"),
        (RootOfZero, GRADIENT, "not finite: shift"),
    ],
)
def test_a_broken_encoder_is_told_the_promise_it_breaks_and_no_other(
    target: Callable[..., Any], promise: str, seen: str
) -> None:
    assert_told(target, promise, seen)


def test_what_forward_keeps_for_the_extra_loss_need_not_follow_the_module() -> None:
    check(Contract("mine"), CachesAView, FactorSettings())
