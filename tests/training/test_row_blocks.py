"""What is made of a large table in blocks of rows is what is made of it whole, with nothing of its size kept."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from glta_cli.training.row_blocks import by_row_blocks


def tables() -> tuple[Tensor, Tensor]:
    """A table [10, 6] with a row of zeros, and weights to make a number of its result."""
    generator = torch.Generator().manual_seed(0)
    table, weights = (torch.randn(10, 6, generator=generator) for _ in range(2))
    table[3] = 0
    return table.requires_grad_(), weights


@pytest.mark.parametrize("block", [1, 18, 24, 59])
def test_values_and_gradients_are_those_of_the_whole_to_the_last_bit(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, weights = tables()
    whole = F.normalize(table)
    [expected] = torch.autograd.grad((whole * weights).sum(), table)
    monkeypatch.setattr("glta_cli.training.row_blocks.BLOCK", block)
    found = by_row_blocks(F.normalize, table)
    [gradient] = torch.autograd.grad((found * weights).sum(), table)
    torch.testing.assert_close(found, whole, rtol=0, atol=0)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=0)


def test_nothing_of_its_size_is_kept_for_the_way_back_but_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    def kept() -> list[int]:
        table, _ = tables()
        found: list[Tensor] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda each: found.append(each) or each, lambda each: each):
            by_row_blocks(F.normalize, table)
        return [each.data_ptr() == table.data_ptr() for each in found]

    assert len(kept()) > 1
    monkeypatch.setattr("glta_cli.training.row_blocks.BLOCK", 12)
    assert kept() == [True]
