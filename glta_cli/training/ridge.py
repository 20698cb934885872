"""Ridge regression with a penalty of its own choice: a linear map found at once, without a training."""

from __future__ import annotations

import torch
from torch import Tensor

RIDGE_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)


def ridge_regression(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Weight [D, h] and intercept [D] of targets [n, D] on inputs [n, h].

    The penalty, in units of the mean variance, is the one with the least error on every tenth row, held out.
    """
    # Not every accelerator has float64, and the system is small.
    x, y = inputs.cpu().double(), targets.cpu().double()
    held = torch.arange(len(x), device=x.device) % 10 == 9
    kept = ~held if held.any() else torch.ones_like(held)
    errors = []
    for penalty in RIDGE_PENALTIES:
        weight, intercept = _solve_ridge(x[kept], y[kept], penalty)
        errors.append(float((x[held] @ weight.T + intercept - y[held]).square().sum()))
    best = RIDGE_PENALTIES[errors.index(min(errors))]
    return _solve_ridge(x, y, best)


def _solve_ridge(x: Tensor, y: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    x_mean, y_mean = x.mean(0), y.mean(0)
    centred = x - x_mean
    gram = centred.T @ centred
    # A floor keeps the system solvable where the inputs do not vary at all.
    ridge = penalty * gram.diagonal().mean() + 1e-9
    solution = torch.linalg.solve(
        gram + ridge * torch.eye(len(gram), dtype=gram.dtype, device=gram.device), centred.T @ (y - y_mean)
    )  # [h, D]
    return solution.T, y_mean - solution.T @ x_mean
