"""When two tensors count as the same, and how far they are apart."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Largest difference of two ways to one state, as a share of the largest state.
TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}


def assert_same(found: Tensor, expected: Tensor, what: str = "the states") -> None:
    """They agree to the precision of the dtype that is expected."""
    difference = _difference(found, expected)
    # Not a number is no agreement either.
    assert difference <= 1, f"{what} differ, by {difference:.3g} times what rounding explains"


def _difference(found: Tensor, expected: Tensor) -> float:
    """The largest difference, as a share of the largest element expected and in units of what its dtype allows."""
    assert found.shape == expected.shape, f"shape {list(found.shape)}, not {list(expected.shape)}"
    largest = expected.detach().float().abs().max().clamp(min=1e-30)
    difference = (found.detach().float() - expected.detach().float()).abs().max()
    return float(difference / largest) / TOLERANCES[expected.dtype]


def assert_other(found: Tensor, expected: Tensor, what: str) -> None:
    """They differ in some bit; `what` says what it means if they do not."""
    # Of one shape, so bit for bit the same if they were computed alike; random weights may leave them close.
    assert not torch.equal(found, expected), what


def identical(first: Any, second: Any) -> bool:
    """Of one type and dtype, and the same bit for bit."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    return type(first) is type(second) and bool(first == second)


def distance(first: Tensor, second: Tensor) -> float:
    """The largest absolute difference."""
    return float((first - second).abs().max())
