"""Sequence encoders whose states follow from more than the items up to their place, or from less."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glta_cli.plugin import InteractionGraph, Settings
from glta_cli.testing.contract import Contract
from tests.testing.encoder_promises.factors import assert_told, breaches, check

SHAPES = "items() returns [I, d] and encode()"


class SumSettings(Settings):
    dimension: int = 6


class Sums(nn.Module):
    """A state is the sum of the vectors of the items so far; it keeps every promise."""

    reads_histories = True

    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__()
        self.item_vectors = nn.Parameter(0.1 * torch.randn(graph.item_count, settings.dimension))

    def longest_history(self) -> Any:
        return 4

    def items(self) -> Any:
        return self.item_vectors

    def held(self, histories: Tensor) -> Tensor:
        return F.embedding(histories.clamp(min=0), self.item_vectors) * (histories >= 0)[:, :, None]

    def encode(self, histories: Tensor) -> Any:
        return self.held(histories).cumsum(1)


class ReadsNothing(Sums):
    def longest_history(self) -> Any:
        return 0


class LastStateAlone(Sums):
    def encode(self, histories: Tensor) -> Any:
        return super().encode(histories)[:, -1]


class NoNumberAtPadding(Sums):
    def encode(self, histories: Tensor) -> Any:
        return super().encode(histories) / (histories >= 0)[:, :, None]


class LooksAhead(Sums):
    def encode(self, histories: Tensor) -> Any:
        return super().encode(histories) + self.held(histories).sum(1, keepdim=True)


class ReadsPadding(Sums):
    def held(self, histories: Tensor) -> Tensor:
        return F.embedding(histories.clamp(min=0), self.item_vectors)


class NormalisesTheBatch(Sums):
    def encode(self, histories: Tensor) -> Any:
        states = super().encode(histories)
        return states / (1 + states.detach()[:, :1].abs().mean())


class ForgetsTheNewest(Sums):
    def encode(self, histories: Tensor) -> Any:
        return super().encode(histories) - self.held(histories) + 0 * self.item_vectors[0]


class CountsInPlace(Sums):
    def encode(self, histories: Tensor) -> Any:
        states = super().encode(histories)
        histories.clamp_(min=0)
        return states


class DrawsAnew(Sums):
    def encode(self, histories: Tensor) -> Any:
        return F.dropout(super().encode(histories), 0.5)


class UnusedParameter(Sums):
    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        self.idle = nn.Parameter(torch.zeros(2))


class VectorOfEachUser(Sums):
    def __init__(self, graph: InteractionGraph, settings: Any) -> None:
        super().__init__(graph, settings)
        self.users = nn.Parameter(0.1 * torch.randn(graph.user_count, settings.dimension))

    def items(self) -> Any:
        return self.item_vectors + self.users.mean(0)


def test_one_that_reads_histories_keeps_every_promise() -> None:
    contract = Contract("mine")
    check(contract, Sums, SumSettings())
    assert contract.promises >= 20


@pytest.mark.parametrize(
    ("target", "promise", "seen"),
    [
        (ReadsNothing, "longest_history()", "it returns 0"),
        (CountsInPlace, "encode() leaves the histories as they are given", "changed"),
        (LastStateAlone, SHAPES, "has the shape [4, 6], not [4, 1, 6]"),
        (NoNumberAtPadding, SHAPES, "is not finite everywhere"),
        (LooksAhead, "a later item changes no earlier state", "the states differ"),
        (ReadsPadding, "padding on the left changes no state", "the states differ"),
        (ForgetsTheNewest, "the state at an item follows from it", "another newest item gives the same one"),
        (DrawsAnew, "in eval mode encode() gives the same each time", "the states differ"),
        (UnusedParameter, "every parameter that requires a gradient", "none: idle"),
        (VectorOfEachUser, "its parameters do not depend on the number of users", "users is [13, 6]"),
    ],
)
def test_a_broken_encoder_is_told_the_promise_it_breaks_and_no_other(
    target: Callable[..., Any], promise: str, seen: str
) -> None:
    assert_told(target, promise, seen)


def test_one_that_mixes_the_rows_of_a_batch_is_told() -> None:
    told = breaches(NormalisesTheBatch, SumSettings())
    assert any(breach.startswith("other histories of the batch change no state") for breach in told)
