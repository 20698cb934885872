"""Large parameters, whose best lie on the disk: trained, saved and resumed as small ones are, and no file is left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from glta_cli.recipe.schema import TrainingSettings
from glta_cli.training import best
from glta_cli.training.loop import train
from glta_cli.training.states import PREVIOUS, STATE

SETTINGS = TrainingSettings(epochs=4, batch_size=4, learning_rate=0.05, checkpoint_seconds=0, patience=9)


class StoppedError(Exception):
    """The process ends here."""


class Best:
    """Two batches an epoch; the second epoch is the best. Ends after `steps`."""

    metric = "quality"

    def __init__(self, steps: int = 1000) -> None:
        torch.manual_seed(0)
        self.module: nn.Module = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1).to(torch.bfloat16).float())
        self.left = steps
        self.validations = 0
        self.seen: list[Tensor] = []

    def batches(self, epoch: int) -> Sequence[Tensor]:
        return list(torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(epoch)))

    def loss(self, batch: Tensor) -> Tensor:
        if self.left == 0:
            raise StoppedError
        self.left -= 1
        return self.module(batch).square().mean()  # type: ignore[no-any-return]

    def validate(self) -> dict[str, float]:
        weight = self.module.get_parameter("0.weight").detach()
        self.seen.append(weight.clone())
        return {"quality": -abs(float(weight.square().sum()) - float(self.target))}

    target = 0.5


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(best, "IN_MEMORY", 0)


def trained(folder: Path, steps: int = 1000) -> Best:
    task = Best(steps)
    if steps < 1000:
        with pytest.raises(StoppedError):
            train(task, SETTINGS, state_folder=folder, description="best")
    else:
        train(task, SETTINGS, state_folder=folder, description="best")
    return task


def parameters(task: Best) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in task.module.parameters()]


@pytest.mark.parametrize("steps", [1, 3, 5, 7])
def test_on_the_disk_as_in_memory_interrupted_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    in_memory = trained(tmp_path / "memory")
    monkeypatch.setattr(best, "IN_MEMORY", 0)
    whole = trained(tmp_path / "disk")
    trained(tmp_path / "parts", steps)
    resumed = trained(tmp_path / "parts")
    for one, other, third in zip(parameters(in_memory), parameters(whole), parameters(resumed), strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, third)


@pytest.mark.usefixtures("on_disk")
def test_nothing_but_states_is_left_in_the_folder(tmp_path: Path) -> None:
    trained(tmp_path / "states")
    assert {path.name for path in (tmp_path / "states").iterdir()} == {STATE, PREVIOUS}


def test_an_empty_and_a_narrow_tensor_come_back_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(best, "IN_MEMORY", 0)
    given = {
        "none": nn.Parameter(torch.empty(0, 4)),
        "scalar": nn.Parameter(torch.tensor(2.5)),
        "narrow": nn.Parameter(torch.randn(3, 5).to(torch.bfloat16)),
        "turned": nn.Parameter(torch.randn(3, 5).T),
    }
    found = best.best_of(given, tmp_path)
    expected = {name: parameter.detach().clone() for name, parameter in given.items()}
    with torch.no_grad():
        for parameter in given.values():
            parameter.zero_()
    for name, tensor in expected.items():
        assert torch.equal(found.read(name), tensor)
