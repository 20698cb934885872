"""The losses against their formulas and against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch_geometric.nn.models.lightgcn import BPRLoss

from glta_cli.training import losses as losses
from glta_cli.training.losses import Positives, bpr_loss, catalogue_softmax_loss


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_bpr_is_torch_geometrics() -> None:
    users, positives, negatives = (drawn(9, 4, seed=seed) for seed in range(3))
    expected = BPRLoss()((users * positives).sum(1), (users * negatives).sum(1))
    torch.testing.assert_close(bpr_loss(users, positives, negatives), expected)


def test_bpr_of_extreme_margins_is_finite() -> None:
    user, near, far = torch.ones(1, 1), torch.full((1, 1), 1e4), torch.full((1, 1), -1e4)
    assert bpr_loss(user, near, far) == 0
    assert bpr_loss(user, far, near) == pytest.approx(2e4)


@given(st.integers(0, 50), st.booleans())
def test_one_positive_a_row_is_cross_entropy(seed: int, with_bias: bool) -> None:
    queries, items = (drawn(rows, 3, seed=seed + rows).requires_grad_() for rows in (6, 11))
    bias = drawn(11, seed=seed) if with_bias else None
    labels = torch.randint(11, (6,), generator=torch.Generator().manual_seed(seed))
    loss = catalogue_softmax_loss(queries, items, Positives(torch.arange(6), labels), bias=bias)
    logits = queries @ items.T + (0 if bias is None else bias)
    expected = F.cross_entropy(logits, labels)
    torch.testing.assert_close(loss, expected)
    ours, theirs = (torch.autograd.grad(value, (queries, items), retain_graph=True) for value in (loss, expected))
    torch.testing.assert_close(ours, theirs)


def test_several_positives_of_a_row_are_averaged_over_all_of_them() -> None:
    queries, items = drawn(3, 4), drawn(7, 4, seed=1)
    positives = [(0, 2), (0, 5), (0, 6), (2, 1)]
    rows, columns = torch.tensor(positives).T
    log_p = (queries @ items.T).log_softmax(1)
    expected = -torch.stack([log_p[row, column] for row, column in positives]).mean()
    torch.testing.assert_close(catalogue_softmax_loss(queries, items, Positives(rows, columns)), expected)


def whole_matrix_loss(
    queries: Tensor, items: Tensor, positives: Positives, bias: Tensor | None, excluded: Positives | None
) -> Tensor:
    """The formula with all logits [B, I] at once."""
    logits = queries @ items.T
    if bias is not None:
        logits = logits + bias
    if excluded is not None:
        logits = logits.index_put((excluded.rows, excluded.items), logits.new_tensor(-torch.inf))
    return (logits.logsumexp(1)[positives.rows] - logits[positives.rows, positives.items]).mean()


def some_pairs(rows: int, items: int, seed: int) -> tuple[Positives, Positives]:
    """Positives in no order, with rows that have several or none, and excluded pairs, none of them a positive."""
    kind = torch.randint(6, (rows, items), generator=torch.Generator().manual_seed(seed))
    kind[0, 0], kind[-1] = 0, 5
    found = (kind == 0).nonzero()
    order = torch.randperm(len(found), generator=torch.Generator().manual_seed(seed))
    return Positives(*found[order].T), Positives(*(kind == 1).nonzero().T)


@settings(deadline=None)
@given(st.integers(0, 50), st.integers(1, 60), st.booleans(), st.booleans())
def test_a_few_rows_at_a_time_are_the_whole_matrix(seed: int, budget: int, with_bias: bool, excluding: bool) -> None:
    queries, items = drawn(7, 3, seed=seed).requires_grad_(), drawn(11, 3, seed=seed + 1).requires_grad_()
    bias = drawn(11, seed=seed + 2).requires_grad_() if with_bias else None
    positives, others = some_pairs(7, 11, seed)
    excluded = others if excluding else None
    inputs = [given for given in (queries, items, bias) if given is not None]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "CHUNK_LOGITS", budget)
        loss = catalogue_softmax_loss(queries, items, positives, bias=bias, excluded=excluded)
    expected = whole_matrix_loss(queries, items, positives, bias, excluded)
    torch.testing.assert_close(loss, expected)
    # A factor, as where the loss is one term of several.
    ours, theirs = (torch.autograd.grad(3 * value, inputs) for value in (loss, expected))
    torch.testing.assert_close(ours, theirs)


def test_the_gradient_passes_the_numerical_check() -> None:
    positives, excluded = some_pairs(5, 8, 0)
    inputs = tuple(drawn(*shape, seed=seed).requires_grad_() for seed, shape in enumerate([(5, 3), (8, 3), (8,)]))
    assert torch.autograd.gradcheck(
        lambda queries, items, bias: catalogue_softmax_loss(queries, items, positives, bias=bias, excluded=excluded),
        inputs,
    )


def test_what_needs_no_gradient_gets_none() -> None:
    queries, items = drawn(3, 4).requires_grad_(), drawn(7, 4, seed=1)
    positives = Positives(torch.arange(3), torch.tensor([2, 0, 6]))
    catalogue_softmax_loss(queries, items, positives).backward()
    assert queries.grad is not None
    assert items.grad is None


def test_the_logits_of_extreme_vectors_do_not_overflow() -> None:
    queries, items = 1e3 * drawn(3, 4), 1e3 * drawn(7, 4, seed=1)
    positives = Positives(torch.arange(3), torch.tensor([2, 0, 6]))
    expected = whole_matrix_loss(queries, items, positives, None, None)
    torch.testing.assert_close(catalogue_softmax_loss(queries, items, positives), expected)


def test_of_half_precision_the_sums_are_taken_in_float32() -> None:
    queries, items = drawn(6, 8).bfloat16().requires_grad_(), drawn(500, 8, seed=1).bfloat16().requires_grad_()
    positives = Positives(torch.arange(6), torch.arange(6))
    loss = catalogue_softmax_loss(queries, items, positives)
    expected = whole_matrix_loss(queries.float(), items.float(), positives, None, None)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert queries.grad is not None
    assert queries.grad.dtype == torch.bfloat16


def test_memory_does_not_grow_with_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "CHUNK_LOGITS", 1000)
    sizes: list[int] = []

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), named=None):
            result = function(*arguments, **(named or {}))
            sizes.extend(value.numel() for value in tree_leaves(result) if isinstance(value, Tensor))
            return result

    queries, items = drawn(400, 2).requires_grad_(), drawn(100, 2, seed=1).requires_grad_()
    with Sizes():
        catalogue_softmax_loss(queries, items, Positives(torch.arange(400), torch.arange(400) % 100)).backward()
    assert max(sizes) <= 1000


def excluded_pairs() -> tuple[Tensor, Tensor, Positives, Positives, Tensor]:
    """Queries, items, positives, excluded pairs, and the loss of a catalogue without the latter."""
    queries, items = drawn(3, 4).requires_grad_(), drawn(7, 4, seed=1).requires_grad_()
    positives = Positives(torch.tensor([0, 0, 1, 2]), torch.tensor([2, 5, 0, 6]))
    excluded = Positives(torch.tensor([0, 0, 2]), torch.tensor([1, 3, 0]))
    expected = []
    for row, column in zip(positives.rows.tolist(), positives.items.tolist(), strict=True):
        gone = set(excluded.items[excluded.rows == row].tolist())
        kept = [item for item in range(7) if item not in gone]
        logits = queries[row] @ items[kept].T
        expected.append(torch.logsumexp(logits, 0) - logits[kept.index(column)])
    return queries, items, positives, excluded, torch.stack(expected).mean()


def test_excluded_pairs_take_no_part_in_the_sum() -> None:
    queries, items, positives, excluded, expected = excluded_pairs()
    loss = catalogue_softmax_loss(queries, items, positives, excluded=excluded)
    torch.testing.assert_close(loss, expected)
    ours, theirs = (torch.autograd.grad(value, (queries, items), retain_graph=True) for value in (loss, expected))
    torch.testing.assert_close(ours, theirs)


def test_a_sample_as_large_as_the_catalogue_is_the_catalogue() -> None:
    queries, items = drawn(3, 4), drawn(7, 4, seed=1)
    positives = Positives(torch.arange(3), torch.tensor([2, 0, 6]))
    whole = catalogue_softmax_loss(queries, items, positives)
    assert catalogue_softmax_loss(queries, items, positives, sample=7) == whole
    assert catalogue_softmax_loss(queries, items, positives, sample=50_000) == whole


@pytest.mark.parametrize("sample", [None, 5])
def test_a_mean_over_no_positive_is_refused(sample: int | None) -> None:
    nothing = torch.empty(0, dtype=torch.int64)
    with pytest.raises(ValueError, match="mean over positives"):
        catalogue_softmax_loss(drawn(3, 4), drawn(7, 4), Positives(nothing, nothing), sample=sample)


def sampled_mean(sample: int, *arguments: Tensor | Positives, **named: Tensor | Positives | None) -> float:
    torch.manual_seed(0)
    losses = [float(catalogue_softmax_loss(*arguments, sample=sample, **named)) for _ in range(400)]
    return sum(losses) / len(losses)


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_the_sampled_loss_is_the_full_one_in_expectation(scale: float) -> None:
    queries, items, bias = scale * drawn(5, 6), drawn(400, 6, seed=1), drawn(400, seed=2)
    found = (queries @ items.T + bias).topk(3, dim=1).indices  # what a trained model scores highest
    positives = Positives(torch.arange(5).repeat_interleave(3), found.flatten())
    full = float(catalogue_softmax_loss(queries, items, positives, bias=bias))
    assert sampled_mean(200, queries, items, positives, bias=bias) == pytest.approx(full, abs=0.06)


def test_the_sampled_loss_of_a_certain_positive_goes_to_zero() -> None:
    items = torch.eye(50, dtype=torch.float64)
    queries, positives = 40 * items[:4], Positives(torch.arange(4), torch.arange(4))
    assert float(catalogue_softmax_loss(queries, items, positives)) < 1e-9
    assert sampled_mean(25, queries, items, positives) < 1e-6


def test_the_sampled_loss_leaves_out_excluded_pairs_too() -> None:
    items = torch.eye(50, dtype=torch.float64)
    queries = 5 * items[:2] + 20 * items[10:12]
    positives, excluded = (Positives(torch.arange(2), torch.arange(start, start + 2)) for start in (0, 10))
    full = float(catalogue_softmax_loss(queries, items, positives, excluded=excluded))
    assert full < 1
    assert sampled_mean(40, queries, items, positives, excluded=excluded) == pytest.approx(full, abs=0.05)


def test_the_sampled_loss_has_no_gradient_towards_items_that_were_not_drawn() -> None:
    items = drawn(1000, 3).requires_grad_()
    torch.manual_seed(0)
    loss = catalogue_softmax_loss(drawn(2, 3, seed=1), items, Positives(torch.arange(2), torch.arange(2)), sample=20)
    loss.backward()
    assert items.grad is not None
    assert 2 <= int((items.grad != 0).any(1).sum()) <= 22
    assert items.grad.isfinite().all()


def test_a_positive_of_weight_two_counts_as_two_of_weight_one(monkeypatch) -> None:
    monkeypatch.setattr(losses, "CHUNK_LOGITS", 22)  # rows of two chunks
    queries, items = (drawn(rows, 3, seed=rows).requires_grad_() for rows in (4, 11))
    rows, columns = torch.tensor([(0, 2), (0, 5), (3, 1), (2, 7)]).T
    weights = torch.tensor([2.0, 1.0, 1.0, 3.0], dtype=torch.float64)
    repeats = weights.long()

    def graded(positives: Positives) -> tuple[Tensor, ...]:
        loss = catalogue_softmax_loss(queries, items, positives, bias=drawn(11, seed=9))
        # Of positives that weigh: a mean over as many as there are.
        total = loss * len(positives.rows)
        return total, *torch.autograd.grad(total, (queries, items))

    weighted = graded(Positives(rows, columns, weights))
    repeated = graded(Positives(rows.repeat_interleave(repeats), columns.repeat_interleave(repeats)))
    torch.testing.assert_close(weighted, repeated)


def test_weights_multiply_the_terms_of_a_sampled_loss() -> None:
    queries, items = drawn(4, 3), drawn(11, 3, seed=1)
    rows, columns = torch.tensor([(0, 2), (0, 5), (3, 1)]).T

    def loss(*weights: float) -> Tensor:
        torch.manual_seed(0)
        positives = Positives(rows, columns, torch.tensor(weights, dtype=torch.float64))
        return catalogue_softmax_loss(queries, items, positives, sample=5)

    torch.testing.assert_close(loss(2, 1, 0.5), 2 * loss(1, 0, 0) + loss(0, 1, 0) + 0.5 * loss(0, 0, 1))


@pytest.mark.parametrize("sample", [None, 5])
def test_weights_of_one_change_no_bit_of_a_loss(sample: int | None) -> None:
    queries, items = drawn(4, 3).float(), drawn(11, 3, seed=1).float()
    rows, columns = torch.tensor([(0, 2), (0, 5), (3, 1)]).T
    found = []
    for weights in (None, torch.ones(3)):
        torch.manual_seed(0)
        found.append(catalogue_softmax_loss(queries, items, Positives(rows, columns, weights), sample=sample))
    assert torch.equal(*found)


def test_bpr_multiplies_each_pair_by_its_weight() -> None:
    users, positives, negatives = (drawn(3, 4, seed=seed) for seed in range(3))
    weights = torch.tensor([0.5, 1.0, 1.5], dtype=torch.float64)
    each = torch.stack([bpr_loss(*(part[row : row + 1] for part in (users, positives, negatives))) for row in range(3)])
    torch.testing.assert_close(bpr_loss(users, positives, negatives, weights), (weights * each).mean())


@pytest.mark.parametrize("sample", [None, 4])
def test_a_loss_among_some_items_is_that_of_a_catalogue_of_them(sample: int | None) -> None:
    among = torch.tensor([1, 2, 5, 6, 8, 9])
    items, bias = drawn(11, 3, seed=1).requires_grad_(), drawn(11, seed=2).requires_grad_()
    queries = drawn(4, 3).requires_grad_()
    rows, columns = torch.tensor([0, 0, 2, 3]), torch.tensor([2, 6, 1, 9])
    excluded = Positives(torch.tensor([1, 2, 3]), torch.tensor([5, 3, 8]))
    place = {int(item): place for place, item in enumerate(among)}
    torch.manual_seed(0)
    loss = catalogue_softmax_loss(
        queries, items, Positives(rows, columns), bias=bias, excluded=excluded, sample=sample, among=among
    )
    torch.manual_seed(0)
    expected = catalogue_softmax_loss(
        queries,
        items[among],
        Positives(rows, torch.tensor([place[int(item)] for item in columns])),
        bias=bias[among],
        excluded=Positives(torch.tensor([1, 3]), torch.tensor([place[5], place[8]])),
        sample=sample,
    )
    torch.testing.assert_close(loss, expected)
    gradients = torch.autograd.grad(loss, (queries, items, bias))
    others = [item for item in range(11) if item not in place]
    assert not gradients[1][others].any()
    assert not gradients[2][others].any()
