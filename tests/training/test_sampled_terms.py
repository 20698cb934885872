"""Promises: the sampled softmax gives, bit for bit, what its formula gives, and keeps no table of a batch's pairs."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from glta_cli.training import sampled_terms
from glta_cli.training.item_draws import Drawn
from glta_cli.training.losses import Positives, catalogue_softmax_loss

ROWS, ITEMS, WIDTH = 40, 90, 16


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def in_order(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Blocks of a few pairs, and sums in one order."""
    monkeypatch.setattr(sampled_terms, "BLOCK_PAIRS", 37)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def some_pairs(count: int) -> tuple[Tensor, Tensor]:
    """Distinct pairs of a row and an item, by row."""
    places = torch.randperm(ROWS * ITEMS, generator=torch.Generator().manual_seed(9))[:count].sort().values
    return places // ITEMS, places % ITEMS


def plain_loss(
    queries: Tensor, items: Tensor, positives: Positives, bias: Tensor | None, excluded: Positives, sample: Drawn
) -> Tensor:
    """The formula, every tensor of it whole and left to autograd."""
    rest = queries @ F.embedding(sample.items, items).T + sample.correction
    found = (queries[positives.rows] * items[positives.items]).sum(-1)
    if bias is not None:
        rest = rest + bias[sample.items]
        found = found + bias[positives.items]
    masked = torch.zeros(ROWS, ITEMS, dtype=torch.bool)
    for pairs in (positives, excluded):
        masked[pairs.rows, pairs.items] = True
    rest = rest.masked_fill(masked[:, sample.items], -math.inf)
    largest = rest.detach().amax(1).scatter_reduce(0, positives.rows, found.detach(), "amax")
    total = (rest - largest[:, None]).exp().sum(1)
    total = total.index_add(0, positives.rows, (found - largest[positives.rows]).exp())
    return ((largest + total.log())[positives.rows] - found).mean()


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("correction", [math.log(3), drawn(30, seed=5)], ids=["uniform", "by popularity"])
def test_loss_and_gradients_are_those_of_the_formula(with_bias: bool, correction: Tensor | float) -> None:
    rows, columns = some_pairs(300)
    positives, excluded = Positives(rows[::2], columns[::2]), Positives(rows[1::2], columns[1::2])
    sample = Drawn(torch.arange(0, ITEMS, 3), correction)
    found = []
    for loss_of in (plain_loss, None):
        queries, items = drawn(ROWS, WIDTH).requires_grad_(), drawn(ITEMS, WIDTH, seed=1).requires_grad_()
        bias = drawn(ITEMS, seed=2).requires_grad_() if with_bias else None
        inputs = [queries, items, *([] if bias is None else [bias])]
        if loss_of is None:
            loss = catalogue_softmax_loss(queries, items, positives, bias=bias, excluded=excluded, drawn=sample)
        else:
            loss = loss_of(queries, items, positives, bias, excluded, sample)
        found.append([loss.detach(), *torch.autograd.grad(2 * loss, inputs)])
    for ours, formula in zip(*found, strict=True):
        assert torch.equal(ours, formula)


def test_products_of_pairs_have_the_gradients_of_the_formula() -> None:
    rows, columns = torch.randint(0, ROWS, (200,)), torch.randint(0, ITEMS, (200,))
    slopes = drawn(200, seed=3)
    queries, items = drawn(ROWS, WIDTH).requires_grad_(), drawn(ITEMS, WIDTH, seed=1).requires_grad_()
    ours = sampled_terms.pair_products(queries, items, rows, columns)
    formula = (queries[rows] * items[columns]).sum(-1)
    assert torch.equal(ours, formula)
    for one, other in zip(
        torch.autograd.grad(ours, (queries, items), slopes),
        torch.autograd.grad(formula, (queries, items), slopes),
        strict=True,
    ):
        assert torch.equal(one, other)


@pytest.mark.parametrize("narrow", ["queries", "items"])
def test_products_of_narrow_and_wide_numbers_are_wide(narrow: str) -> None:
    rows, columns = some_pairs(100)
    queries, items = drawn(ROWS, WIDTH), drawn(ITEMS, WIDTH, seed=1)
    queries, items = (
        (given.bfloat16() if name == narrow else given).requires_grad_()
        for name, given in (("queries", queries), ("items", items))
    )
    ours = sampled_terms.pair_products(queries, items, rows, columns)
    formula = (queries[rows] * items[columns]).sum(-1)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, formula, rtol=0, atol=0)
    for one, other in zip(
        torch.autograd.grad(ours.sigmoid().sum(), (queries, items)),
        torch.autograd.grad(formula.sigmoid().sum(), (queries, items)),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=2e-2, atol=2e-2)


def test_under_autocast_narrow_queries_get_their_gradient() -> None:
    rows, columns = some_pairs(100)
    queries, items = drawn(ROWS, WIDTH).bfloat16().requires_grad_(), drawn(ITEMS, WIDTH, seed=1).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = catalogue_softmax_loss(queries, items, Positives(rows, columns), sample=30)
    to_queries, to_items = torch.autograd.grad(loss, (queries, items))
    assert to_queries.isfinite().all()
    assert to_items.isfinite().all()


def test_no_table_of_all_pairs_is_kept_for_the_way_back() -> None:
    rows, columns = some_pairs(2_000)
    queries, items = drawn(ROWS, WIDTH).requires_grad_(), drawn(ITEMS, WIDTH, seed=1).requires_grad_()
    sizes: list[int] = []

    def noted(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(noted, lambda tensor: tensor):
        catalogue_softmax_loss(queries, items, Positives(rows, columns), sample=30)
    assert max(sizes) <= max(len(rows), queries.numel(), items.numel())


def test_a_gradient_that_is_taken_twice_is_refused() -> None:
    rows, columns = some_pairs(10)
    queries = drawn(ROWS, WIDTH).requires_grad_()
    loss = catalogue_softmax_loss(queries, drawn(ITEMS, WIDTH, seed=1), Positives(rows, columns), sample=30)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="already taken"):
        loss.backward()
