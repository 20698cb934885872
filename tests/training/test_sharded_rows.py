"""A head whose rows are dealt out to processes: trained, clipped, saved and resumed as one process has it whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from glta_cli.core.world import Team, team, working_in
from glta_cli.language.gllm import LinearHead
from glta_cli.language.sharded_head import ShardedHead
from glta_cli.recipe.schema import TrainingSettings
from glta_cli.training.data_parallel import DataParallel
from glta_cli.training.loop import train
from glta_cli.training.losses import Positives, catalogue_softmax_loss
from glta_cli.training.sharded_rows import ShardedRows

ITEMS, WIDTH, PROCESSES = 13, 5, 2
# Saved after every step, and clipped at each: the norm is one of all rows.
SETTINGS = TrainingSettings(epochs=3, batch_size=4, learning_rate=0.05, clip_norm=0.01, checkpoint_seconds=0)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.project = nn.Linear(4, WIDTH)
        self.head = LinearHead(WIDTH, ITEMS)


class HeadTask:
    """Predicts an item of each of eight rows, in batches of four, three and one; breaks before step `last`."""

    metric = "none"

    def __init__(self, last: int | None = None) -> None:
        self.module = Model()
        generator = torch.Generator().manual_seed(1)
        self.inputs = torch.randn(8, 4, generator=generator)
        self.labels = torch.randint(ITEMS, (8,), generator=generator)
        self.last = last
        self.steps = 0
        self.sharded = ShardedHead(self.module.head, team(), "head.") if team().size > 1 else None
        self.sharded_rows = None if self.sharded is None else self.sharded.rows

    def batches(self, epoch: int) -> Sequence[list[int]]:
        return [[0, 1, 2, 3], [4, 5, 6], [7]]

    def share(self, batch: list[int], rank: int, size: int) -> tuple[list[int], float]:
        return batch[rank::size], 1 / size

    def loss(self, batch: list[int]) -> Tensor:
        if self.steps == self.last:
            raise KeyError("broken")
        self.steps += 1
        queries = self.module.project(self.inputs[batch])
        positives = Positives(torch.arange(len(batch)), self.labels[batch])
        if self.sharded is not None:
            return self.sharded.loss(queries, positives, adjustment=None, excluded=None, among=None)
        head = self.module.head
        return catalogue_softmax_loss(queries, head.item_matrix(), positives, bias=head.bias)

    def validate(self) -> dict[str, float]:
        return {self.metric: 0.0}


def trained(folder: Path, last: int | None = None) -> tuple[int, dict[str, Tensor]]:
    """How many steps were taken, and the parameters after three epochs; a state in the folder is continued."""
    task = HeadTask(last)
    train(task, SETTINGS, state_folder=folder, description="head", fixed_epochs=3)
    if task.sharded is not None:
        assert len(task.module.head.weight) < ITEMS
        task.sharded.join()
    return task.steps, {name: each.detach() for name, each in task.module.named_parameters()}


class GlooTeam(Team):
    """All processes of the default group, as far as a training needs them."""

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()

    def broadcast(self, content: Any) -> Any:
        held = [content]
        dist.broadcast_object_list(held, src=0)
        return held[0]

    def gathered(self, array: np.ndarray) -> list[np.ndarray]:
        held: list[Any] = [None] * self.size
        dist.all_gather_object(held, array)
        return held

    def summed(self, numbers: Sequence[float]) -> list[float]:
        return [sum(each) for each in zip(*self.gathered(np.array(numbers)), strict=True)]

    def largest(self, number: int) -> int:
        return max(int(each) for each in self.gathered(np.array(number)))


def of_process(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    meeting = f"file://{folder / 'meeting'}"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=PROCESSES)
    with working_in(GlooTeam()):
        torch.save(trained(folder / "whole"), folder / f"whole.{rank}")
        torch.save(trained(folder / "begun-by-one"), folder / f"resumed.{rank}")
        with pytest.raises(KeyError):
            trained(folder / "begun-by-two", last=5)
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes trained, resumed and left behind."""
    folder = tmp_path_factory.mktemp("rows")
    with pytest.raises(KeyError):
        trained(folder / "begun-by-one", last=4)
    mp.spawn(of_process, (folder,), nprocs=PROCESSES)
    return folder


@pytest.mark.xdist_group("sharded_rows")
@pytest.mark.parametrize(("name", "steps"), [("whole", 9), ("resumed", 5)])
def test_two_processes_train_the_head_of_one(folder: Path, tmp_path: Path, name: str, steps: int) -> None:
    _, expected = trained(tmp_path / "one")
    for rank in range(PROCESSES):
        taken, parameters = torch.load(folder / f"{name}.{rank}")
        assert taken == steps
        torch.testing.assert_close(parameters, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.xdist_group("sharded_rows")
def test_one_process_goes_on_from_the_rows_of_two(folder: Path, tmp_path: Path) -> None:
    taken, parameters = trained(folder / "begun-by-two")
    assert taken == 4
    torch.testing.assert_close(parameters, trained(tmp_path / "one")[1], rtol=1e-5, atol=1e-6)


def test_a_head_in_parts_may_be_all_that_is_trained() -> None:
    """Then no process has a gradient that another needs, and torch has nothing to reduce."""
    module = nn.Linear(4, 3, bias=False)

    class Task:
        sharded_rows = ShardedRows({"weight": 3}, Team())

        def __init__(self) -> None:
            self.module = module

        def loss(self, batch: Tensor) -> Tensor:
            return module(batch).sum()

    parallel = DataParallel(Task(), dict(module.named_parameters()), Team())
    loss, value = parallel.loss(torch.ones(2, 4))
    loss.backward()
    assert value == pytest.approx(float(loss.detach()))
    assert torch.equal(module.weight.grad, torch.full((3, 4), 2.0))
