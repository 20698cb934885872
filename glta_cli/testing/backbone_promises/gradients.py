"""A loss of states, and what its gradient has to be."""

from __future__ import annotations

import torch
from torch import Tensor


def loss_of(states: Tensor) -> Tensor:
    """A scalar whose gradient is nowhere zero by a norm's symmetry, as that of a sum is."""
    weights = torch.linspace(-1, 1, states.shape[-1], device=states.device).sin()
    return (states.float() * weights).square().mean()


def assert_gradient(inputs: Tensor) -> None:
    """A backward pass has left one at `inputs`, finite and not all zero."""
    assert inputs.grad is not None, "there is none"
    assert inputs.grad.isfinite().all(), "it is not finite"
    assert inputs.grad.any(), "it is zero everywhere"
