"""The heads: states in, item logits out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from glta_cli.language.gllm import LinearHead, TiedHead, scoring_arrays
from glta_cli.training.ridge import ridge_regression

HIDDEN, ITEMS, WIDTH = 12, 7, 5


def states(count: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(count, HIDDEN, generator=torch.Generator().manual_seed(seed))


def tied(counts: list[int] | None = None) -> TiedHead:
    torch.manual_seed(1)
    items = F.normalize(torch.randn(ITEMS, WIDTH), dim=1)
    return TiedHead(HIDDEN, items, torch.tensor(counts or [5, 0, 1, 9, 0, 2, 3]))


def logits(head: TiedHead | LinearHead, hidden: Tensor) -> Tensor:
    return head.queries(hidden) @ head.item_matrix().T + head.bias


def test_a_tied_heads_logits_follow_its_formula() -> None:
    head, hidden = tied(), states()
    head.standardize(states(50, seed=3))
    normed = hidden * hidden.square().mean(1, keepdim=True).rsqrt()
    standard = (normed - head.centre) / head.scale
    expected = (standard @ head.project.weight.T + head.project.bias) @ head.items.T + head.bias
    torch.testing.assert_close(logits(head, hidden), expected, rtol=1e-4, atol=1e-4)


def test_standardised_states_have_no_mean_and_unit_variance() -> None:
    head, hidden = tied(), states(200) * 3 + 10
    head.standardize(hidden)
    head.project.weight.data = torch.eye(HIDDEN)
    head.project.bias.data = torch.zeros(HIDDEN)
    standard = head.queries(hidden)
    torch.testing.assert_close(standard.mean(0), torch.zeros(HIDDEN), atol=1e-3, rtol=0)
    torch.testing.assert_close(standard.std(0, correction=0), torch.ones(HIDDEN), atol=1e-3, rtol=0)


def test_a_tied_head_scores_an_item_it_was_never_trained_on() -> None:
    head = tied()
    optimizer = torch.optim.Adam([p for p in head.parameters() if p.requires_grad], lr=0.05)
    hidden, wanted = states(40), 2
    # The item 6 resembles the wanted one, the item 5 is its opposite; neither is ever in the loss.
    head.items[6], head.items[5] = head.items[wanted], -head.items[wanted]
    head.bias.data.zero_()
    before = logits(head, hidden).detach()
    for _ in range(30):
        optimizer.zero_grad()
        seen = logits(head, hidden)[:, :5]
        F.cross_entropy(seen, torch.full((40,), wanted)).backward()
        optimizer.step()
    gain = (logits(head, hidden).detach() - before).mean(0)
    assert gain[6] > 1
    assert gain[5] < -1
    assert head.bias[5] == head.bias[6] == 0


def test_a_tied_heads_bias_starts_as_a_popularity_ranking() -> None:
    bias = tied([5, 0, 1, 9, 0, 2, 3]).bias
    assert bias.argsort(descending=True, stable=True).tolist() == [3, 0, 6, 5, 2, 1, 4]
    assert bias.isfinite().all()


def test_a_linear_head_has_a_row_and_a_bias_for_every_item() -> None:
    head = LinearHead(HIDDEN, ITEMS)
    assert {name: tuple(p.shape) for name, p in head.named_parameters()} == {
        "weight": (ITEMS, HIDDEN),
        "bias": (ITEMS,),
    }
    hidden = torch.randn(2, 3, HIDDEN)
    torch.testing.assert_close(logits(head, hidden), F.linear(hidden, head.weight, head.bias))
    assert logits(head, hidden).shape == (2, 3, ITEMS)


@pytest.mark.parametrize("head", [tied(), LinearHead(HIDDEN, ITEMS)])
def test_the_arrays_for_serving_give_the_same_scores(head: TiedHead | LinearHead) -> None:
    hidden = states().to(torch.bfloat16)
    items, bias = scoring_arrays(head)
    assert items.dtype == bias.dtype == np.float32
    queries = head.queries(hidden).detach().numpy()
    np.testing.assert_allclose(queries @ items.T + bias, logits(head, hidden).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("count", [5, 30, 500])
def test_the_ridge_regression_finds_a_linear_map(count: int) -> None:
    generator = torch.Generator().manual_seed(0)
    weight, intercept = torch.randn(3, 4, generator=generator), torch.tensor([1.0, -2, 30])
    inputs = torch.randn(count, 4, generator=generator)
    found = ridge_regression(inputs, inputs @ weight.T + intercept)
    torch.testing.assert_close(found[0].float(), weight, atol=0.02, rtol=0.02)
    torch.testing.assert_close(found[1].float(), intercept, atol=0.02, rtol=0.02)


def test_the_ridge_regression_does_not_fit_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs, noise = torch.randn(60, 50, generator=generator), torch.randn(60, 2, generator=generator)
    weight, _ = ridge_regression(inputs, noise)
    # Least squares would reproduce almost all of the noise.
    assert (inputs.double() @ weight.T).square().mean() < 0.3


def test_the_ridge_regression_survives_inputs_that_do_not_vary() -> None:
    weight, intercept = ridge_regression(torch.ones(20, 4), torch.arange(20.0)[:, None])
    assert weight.isfinite().all()
    assert (torch.ones(4).double() @ weight.T + intercept).item() == pytest.approx(9.5, abs=0.01)
