"""SASRec computes what its docstring says."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from glta_encoders.sasrec import SASRec, SASRecText
from glta_encoders.settings import SASRecSettings, SASRecTextSettings
from pydantic import ValidationError
from torch import Tensor

from glta_cli.plugin.interaction_graph import InteractionGraph
from glta_cli.plugin.interactions import Interactions

ITEMS, WIDTH = 9, 5
HISTORY = [4, 2, 7, 0]


@pytest.fixture
def graph() -> InteractionGraph:
    return InteractionGraph(Interactions.from_pairs([0, 0], [1, 2], user_count=1, item_count=ITEMS))


def norm(layer: Any, row: Tensor) -> Tensor:
    spread = row - row.mean()
    found: Tensor = layer.weight * spread / (spread.square().mean() + layer.eps).sqrt() + layer.bias
    return found


def states_of(encoder: Any, history: list[int]) -> list[Tensor]:
    """The formula, place by place and head by head."""
    settings, size = encoder.settings, encoder.settings.dimension
    width = size // settings.heads
    positions = encoder.positions[0, settings.longest_history - len(history) :]
    rows = [math.sqrt(size) * encoder.items()[item] + positions[place] for place, item in enumerate(history)]
    for layer in encoder.layers:
        read = [norm(layer.attention_norm, row) for row in rows]
        queries, keys, values = layer.projections.weight.split(size)
        mixed = []
        for place in range(len(rows)):
            parts = []
            for head in range(settings.heads):
                own = slice(head * width, (head + 1) * width)
                query = (queries @ read[place])[own]
                logits = [query @ (keys @ row)[own] / math.sqrt(width) for row in read[: place + 1]]
                shares = torch.stack(logits).softmax(0)
                parts.append(sum(share * (values @ row)[own] for share, row in zip(shares, read, strict=False)))
            mixed.append(torch.cat(parts))
        rows = [row + each for row, each in zip(rows, mixed, strict=True)]
        hidden = [(layer.inner.weight @ norm(layer.forward_norm, row) + layer.inner.bias).clamp(min=0) for row in rows]
        rows = [row + layer.outer.weight @ h + layer.outer.bias for row, h in zip(rows, hidden, strict=True)]
    return [norm(encoder.last_norm, row) for row in rows]


def moved(encoder: Any) -> Any:
    """In float64 and eval mode, with every parameter off its start: norms and biases too."""
    generator = torch.Generator().manual_seed(1)
    encoder = encoder.double().eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return encoder


@pytest.mark.parametrize("heads", [1, 2])
def test_states_are_the_formula_s(graph: InteractionGraph, heads: int) -> None:
    settings = SASRecSettings(dimension=4, heads=heads, longest_history=6, dropout=0.5)
    encoder = moved(SASRec(graph, settings))
    found = encoder.encode(torch.tensor([[-1, *HISTORY]]))[0, 1:]
    torch.testing.assert_close(found, torch.stack(states_of(encoder, HISTORY)), rtol=1e-9, atol=1e-9)


def test_an_item_is_its_text_and_what_was_learnt_of_it_where_anybody_met_it(graph: InteractionGraph) -> None:
    texts = torch.randn(ITEMS, WIDTH, generator=torch.Generator().manual_seed(2))
    encoder: Any = SASRecText(graph, SASRecTextSettings(dimension=4, longest_history=6), texts)
    assert not encoder.item_vectors.any()
    encoder = moved(encoder)
    expected = texts.double() @ encoder.projection.weight.T
    expected[[1, 2]] += encoder.item_vectors[[1, 2]]
    torch.testing.assert_close(encoder.items(), expected, rtol=1e-9, atol=1e-9)
    found = encoder.encode(torch.tensor([HISTORY]))[0]
    torch.testing.assert_close(found, torch.stack(states_of(encoder, HISTORY)), rtol=1e-9, atol=1e-9)


def test_heads_that_cannot_share_the_dimension_are_refused() -> None:
    with pytest.raises(ValidationError, match="3 heads cannot share a dimension of 64"):
        SASRecSettings(heads=3)
