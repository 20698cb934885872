"""A softmax over items drawn as often as they were met: what it estimates, and what it leaves out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from glta_cli.core.errors import InputErrors
from glta_cli.recipe.schema import Recipe
from glta_cli.stages.pipeline import Pipeline
from glta_cli.stages.pretrain_graph import PretrainGraph
from glta_cli.training.item_draws import ItemDraws
from glta_cli.training.losses import Positives, catalogue_softmax_loss

POPULAR = 1.0 / np.arange(1, 401)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_items_are_drawn_as_often_as_they_were_met_and_those_nobody_met_sometimes() -> None:
    counts = np.array([0, 6, 2, 1])
    torch.manual_seed(0)
    found = ItemDraws(counts).draw(40_000, torch.device("cpu"))
    assert found.items.tolist() == [0, 1, 2, 3]
    shares = np.array([1, 6, 2, 1]) / 10
    # Each item counts once in the sum that the draws estimate: times drawn, over how often it was to be drawn.
    np.testing.assert_allclose(torch.as_tensor(found.correction).exp().numpy() * shares, shares, rtol=0.05)


@pytest.mark.parametrize("excluding", [False, True])
def test_the_loss_is_the_full_one_in_expectation(excluding: bool) -> None:
    # As a trained model scores: what was met often is likely.
    queries, items, bias = 0.5 * drawn(5, 6), drawn(400, 6, seed=1), torch.from_numpy(np.log(POPULAR))
    positives = Positives(torch.arange(5).repeat_interleave(2), torch.tensor([0, 7, 3, 1, 0, 399, 2, 50, 9, 10]))
    excluded = Positives(torch.arange(5), torch.tensor([2, 0, 1, 0, 0])) if excluding else None
    full = float(catalogue_softmax_loss(queries, items, positives, bias=bias, excluded=excluded))
    draws = ItemDraws(np.ceil(1000 * POPULAR).astype(np.int64))
    torch.manual_seed(0)
    losses = [
        float(catalogue_softmax_loss(queries, items, positives, bias=bias, excluded=excluded, sample=200, draws=draws))
        for _ in range(400)
    ]
    assert np.mean(losses) == pytest.approx(full, abs=0.06)


def test_a_positive_that_is_drawn_is_no_negative() -> None:
    # All draws are item 0, the positive: it is told from nothing, so that there is nothing to lose.
    draws = ItemDraws(np.array([10**12, 1, 1]))
    torch.manual_seed(0)
    positives = Positives(torch.arange(2), torch.zeros(2, dtype=torch.int64))
    assert float(catalogue_softmax_loss(drawn(2, 4), drawn(3, 4, seed=1), positives, sample=2, draws=draws)) == 0


def test_it_trains_an_encoder_and_is_part_of_what_that_depends_on(
    run_toy: Callable[..., Pipeline], tiny_recipe: Callable[..., Recipe]
) -> None:
    sampled = ("finetune.enabled=false", "graph.softmax_items=10")
    uniform = run_toy(*sampled, stage="pretrain-graph", name="uniform").ensure("pretrain-graph")
    popular = run_toy(*sampled, "graph.softmax_sampling=popularity", stage="pretrain-graph", name="popular").ensure(
        "pretrain-graph"
    )
    assert uniform.fingerprint != popular.fingerprint
    assert popular.details["full"]["best_metric"] > 0.3
    stage = PretrainGraph()
    assert "softmax_sampling" not in stage.settings(tiny_recipe(*sampled))["graph"]


def test_where_nothing_is_sampled_it_is_refused(tiny_recipe: Callable[..., Recipe]) -> None:
    with pytest.raises(InputErrors, match=r"graph\.softmax_sampling: nothing is sampled"):
        tiny_recipe("graph.softmax_sampling=popularity")
