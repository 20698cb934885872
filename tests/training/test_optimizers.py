"""AdamW with moments of half the width: near torch's own, unbiased, resumed bit for bit, and half the memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from glta_cli.recipe.schema import TrainingSettings
from glta_cli.training.loop import train
from glta_cli.training.optimizers import adamw, rounded
from glta_cli.training.states import STATE

SETTINGS = TrainingSettings(epochs=3, batch_size=4, learning_rate=0.05, moments="bfloat16", checkpoint_seconds=0)


class StoppedError(Exception):
    """The process ends here."""


class Line:
    """Learns a line from 5 batches an epoch; ends after `steps`."""

    metric = "quality"

    def __init__(self, steps: int = 1000) -> None:
        torch.manual_seed(0)
        self.module: nn.Module = nn.Linear(300, 1)
        self.left = steps

    def batches(self, epoch: int) -> Sequence[Tensor]:
        return list(torch.randn(5, 4, 300, generator=torch.Generator().manual_seed(epoch)))

    def loss(self, batch: Tensor) -> Tensor:
        if self.left == 0:
            raise StoppedError
        self.left -= 1
        return (self.module(batch) - batch.sum(1, keepdim=True)).square().mean()

    def validate(self) -> dict[str, float]:
        return {"quality": -float((self.module.get_parameter("weight").detach() - 1).square().sum())}


def test_a_mean_of_many_roundings_is_the_number_itself() -> None:
    exact = torch.tensor([1.001, -1.001, 1e-12, 3.0, 0.0]).repeat(40_000)
    drawn = rounded(exact, torch.Generator().manual_seed(0)).double().view(-1, 5)
    spacing = torch.tensor([2**-7, 2**-7, 2.0**-47, 0, 0], dtype=torch.float64)
    assert ((drawn - exact[:5].double()).abs() <= spacing).all()
    torch.testing.assert_close(drawn.mean(0), exact[:5].double(), rtol=1e-4, atol=0)


def test_a_second_moment_does_not_stay_where_it_is() -> None:
    """Rounded to the nearest, one that falls by a thousandth a step would never fall."""
    parameter = nn.Parameter(torch.zeros(5000))
    optimizer = adamw([parameter], learning_rate=0.0, weight_decay=0.0, moments="bfloat16")
    for gradient in (1.0, *[0.0] * 500):
        parameter.grad = torch.full_like(parameter, gradient)
        optimizer.step()
    left = optimizer.state[parameter]["exp_avg_sq"].double().mean()
    assert left == pytest.approx(1e-3 * 0.999**500, rel=0.01)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_steps_are_those_of_torch_but_for_the_rounding(weight_decay: float) -> None:
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(100, 50, generator=generator)
    half, whole = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    ours = adamw([half], learning_rate=0.01, weight_decay=weight_decay, moments="bfloat16")
    theirs = torch.optim.AdamW([whole], lr=0.01, weight_decay=weight_decay)
    for _ in range(50):
        gradient = torch.randn(100, 50, generator=generator) + 1
        half.grad, whole.grad = gradient, gradient.clone()
        ours.step()
        theirs.step()
    moved = (whole - start).norm()
    assert (half - whole).norm() < 0.01 * moved


def test_a_training_reaches_what_it_reaches_with_whole_moments(tmp_path: Path) -> None:
    half, whole = Line(), Line()
    train(half, SETTINGS, state_folder=tmp_path / "half", description="line")
    train(
        whole, SETTINGS.model_copy(update={"moments": "float32"}), state_folder=tmp_path / "whole", description="line"
    )
    assert half.validate()["quality"] == pytest.approx(whole.validate()["quality"], rel=0.02)


@pytest.mark.parametrize("steps", [1, 7])
def test_it_is_resumed_bit_for_bit_with_moments_of_half_the_width(tmp_path: Path, steps: int) -> None:
    uninterrupted, interrupted, resumed = Line(), Line(steps), Line()
    train(uninterrupted, SETTINGS, state_folder=tmp_path / "whole", description="line")
    with pytest.raises(StoppedError):
        train(interrupted, SETTINGS, state_folder=tmp_path / "parts", description="line")
    with safe_open(tmp_path / "parts" / STATE, "pt") as state:
        assert state.get_tensor("optimizer.exp_avg_sq.weight").dtype == torch.bfloat16
    train(resumed, SETTINGS, state_folder=tmp_path / "parts", description="line")
    for name, parameter in uninterrupted.module.named_parameters():
        assert torch.equal(parameter, resumed.module.get_parameter(name))
