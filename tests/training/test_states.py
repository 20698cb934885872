"""Saved states: a damaged one is set aside, and the training goes on from the one before or from the start."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from glta_cli.core.errors import GltaError
from glta_cli.recipe.schema import TrainingSettings
from glta_cli.training.loop import train
from glta_cli.training.states import PREVIOUS, STATE

SETTINGS = TrainingSettings(epochs=3, batch_size=4, learning_rate=0.01, checkpoint_seconds=0)


class StoppedError(Exception):
    """The process ends here."""


class Line:
    """Learns a line from 5 batches an epoch; ends after `steps`."""

    metric = "quality"

    def __init__(self, steps: int = 1000) -> None:
        torch.manual_seed(0)
        self.module: nn.Module = nn.Linear(3, 1)
        self.left = steps
        self.steps = 0

    def batches(self, epoch: int) -> Sequence[Tensor]:
        return list(torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(epoch)))

    def loss(self, batch: Tensor) -> Tensor:
        if self.steps == self.left:
            raise StoppedError
        self.steps += 1
        return (self.module(batch) - batch.sum(1, keepdim=True)).square().mean()

    def validate(self) -> dict[str, float]:
        return {"quality": -float(self.module.weight.square().sum())}


def trained(folder: Path, steps: int = 1000) -> Line:
    task = Line(steps)
    if steps < 1000:
        with pytest.raises(StoppedError):
            train(task, SETTINGS, state_folder=folder, description="line")
    else:
        train(task, SETTINGS, state_folder=folder, description="line")
    return task


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    cases = {
        "cut": content[:-7],
        "empty": b"",
        "header": content[:9] + b"\x00" + content[10:],
        "weight": content[:-1] + bytes([content[-1] ^ 4]),
        "progress": content.replace(b'\\"step\\": 7', b'\\"step\\": 6').replace(b'\\"step\\": 6', b'\\"step\\": 5', 1),
        "text": b"no state",
    }
    assert cases[how] != content
    path.write_bytes(cases[how])


DAMAGES = ["cut", "empty", "header", "weight", "progress", "text"]


@pytest.mark.parametrize("how", DAMAGES)
def test_training_goes_on_from_the_state_before_a_damaged_one(tmp_path: Path, how: str, capsys: Any) -> None:
    whole = trained(tmp_path / "whole")
    trained(tmp_path / "killed", 7)
    damage(tmp_path / "killed" / STATE, how)
    resumed = trained(tmp_path / "killed")
    assert resumed.steps == 15 - 6
    assert torch.equal(resumed.module.weight, whole.module.weight)
    told = capsys.readouterr().err
    assert f"{tmp_path / 'killed' / STATE}: " in told
    assert f"set aside as {STATE}.damaged" in told
    assert "continuing after step 6" in told
    assert (tmp_path / "killed" / f"{STATE}.damaged").is_file()


@pytest.mark.parametrize("how", DAMAGES[:5])
def test_training_starts_again_where_both_states_are_damaged(tmp_path: Path, how: str, capsys: Any) -> None:
    whole = trained(tmp_path / "whole")
    trained(tmp_path / "killed", 7)
    for name in (STATE, PREVIOUS):
        damage(tmp_path / "killed" / name, how)
    resumed = trained(tmp_path / "killed")
    assert resumed.steps == 15
    assert torch.equal(resumed.module.weight, whole.module.weight)
    assert "training starts again" in capsys.readouterr().err


def rewritten(path: Path, **changes: Any) -> None:
    """A state as a version without seals wrote it, with other progress."""
    with safe_open(path, framework="pt") as state:
        progress = json.loads(state.metadata()["progress"]) | changes
    path.write_bytes(save(load_file(path), metadata={"progress": json.dumps(progress)}))


def test_a_state_without_a_seal_is_continued(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole")
    trained(tmp_path / "killed", 7)
    rewritten(tmp_path / "killed" / STATE)
    resumed = trained(tmp_path / "killed")
    assert resumed.steps == 15 - 7
    assert torch.equal(resumed.module.weight, whole.module.weight)


def test_a_state_of_another_version_is_set_aside(tmp_path: Path, capsys: Any) -> None:
    trained(tmp_path, 7)
    rewritten(tmp_path / STATE, of_another_version=1)
    (tmp_path / PREVIOUS).unlink()
    assert trained(tmp_path).steps == 15
    assert "its progress is that of another version" in capsys.readouterr().err


def test_a_state_of_another_model_is_set_aside(tmp_path: Path, capsys: Any) -> None:
    trained(tmp_path, 7)
    tensors = load_file(tmp_path / STATE)
    with safe_open(tmp_path / STATE, framework="pt") as state:
        progress = state.metadata()["progress"]
    for name, changed in (("current.bias", torch.zeros(2)), ("optimizer.momentum.bias", torch.zeros(1))):
        (tmp_path / STATE).write_bytes(save({**tensors, name: changed}, metadata={"progress": progress}))
        (tmp_path / PREVIOUS).unlink(missing_ok=True)
        assert trained(tmp_path, 3).steps == 3
        assert "no state of this training" in capsys.readouterr().err


def test_killed_between_the_two_renamings_it_goes_on_from_the_state_before(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole")
    trained(tmp_path / "killed", 7)
    (tmp_path / "killed" / STATE).unlink()
    resumed = trained(tmp_path / "killed")
    assert resumed.steps == 15 - 6
    assert torch.equal(resumed.module.weight, whole.module.weight)


def test_a_training_whose_states_have_no_room_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glta_cli.core.storage.free_bytes", lambda folder: 4 * 4 * 4 - 1)
    task = Line()
    with pytest.raises(GltaError, match="about 64 bytes are needed, 63 bytes are free"):
        train(task, SETTINGS, state_folder=tmp_path, description="line")
    assert task.steps == 0
