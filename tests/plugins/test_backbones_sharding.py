"""A frozen model whose layers are shared among processes: the states and the gradients of the whole model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from glta_backbones.causal_lm import CausalLanguageModel
from glta_backbones.settings import TinyOptions
from glta_backbones.tiny import Tiny
from torch import Tensor
from torch.distributed.tensor import DTensor

from glta_cli.core.errors import InputError
from glta_cli.core.world import Team, working_in
from glta_cli.plugin.settings import BackboneSettings, LoraSettings

CPU = torch.device("cpu")
SHAPE = TinyOptions(hidden_size=32, depth=3, heads=2)
PROCESSES = 2
TEXTS = ["once upon a time there was", "a film"]
VARIANTS: dict[str, dict[str, Any]] = {
    "frozen": {},
    "adapted": {"lora": LoraSettings(rank=2)},
    "recomputed": {"lora": LoraSettings(rank=2), "gradient_checkpointing": True},
}


def tiny(**settings: Any) -> CausalLanguageModel:
    torch.manual_seed(5)
    return Tiny("tiny", BackboneSettings(**settings), SHAPE).load(CPU)


def prompts(rank: int) -> tuple[Tensor, Tensor]:
    """Of each process others: inputs [2, L, h] and their mask [2, L]."""
    generator = torch.Generator().manual_seed(rank)
    mask = torch.ones(2, 9 + rank, dtype=torch.int64)
    mask[1, 4 + rank :] = 0
    return torch.randn(2, 9 + rank, SHAPE.hidden_size, generator=generator), mask


def states_and_gradients(model: CausalLanguageModel, rank: int) -> dict[str, Tensor]:
    """States of the prompts, and what their sum has as gradients of inputs and adapters."""
    model.module.train()
    adapters = {name: each for name, each in model.module.named_parameters() if each.requires_grad}
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for each in adapters.values():  # the second factor starts at zero, and the first would have no gradient
            each.copy_(0.1 * torch.randn(each.shape, generator=generator))
    inputs, mask = prompts(rank)
    inputs.requires_grad_()
    with torch.inference_mode():
        model.hidden(inputs, mask)
    states = model.hidden(inputs, mask)
    kept = states[mask.bool()]
    (kept * torch.linspace(-1, 1, SHAPE.hidden_size)).sum().backward()
    gradients = {name: each.grad for name, each in adapters.items() if each.grad is not None}
    assert len(gradients) == len(adapters)
    assert inputs.grad is not None
    return {"states": kept.detach(), "inputs": inputs.grad, **gradients}


def of_process(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    meeting = f"file://{folder / 'meeting'}"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=PROCESSES)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(PROCESSES))  # as launchers do
    torch.save(refusals(), folder / f"refusals.{rank}")
    assert tiny(shard=True).sharded is False  # for a work of its own
    with working_in(Pair()):
        assert tiny(shard="auto").sharded is False  # so little fits any device
        for name, settings in VARIANTS.items():
            model = tiny(shard=True, **settings)
            found = states_and_gradients(model, rank)
            held = sum(each.to_local().numel() for each in model.module.parameters() if isinstance(each, DTensor))
            words = model.generate(TEXTS, 4)
            torch.save({"found": found, "held": held, "words": words}, folder / f"{name}.{rank}")
    dist.destroy_process_group()


class Pair(Team):
    """Two processes that work together, as far as a backbone asks."""

    size = PROCESSES


def refusals() -> list[str]:
    said = []
    for settings in ({"device_map": "auto"}, {"quantization": "4bit"}):
        with pytest.raises(InputError) as caught:
            tiny(shard=True, **settings)
        said.append(str(caught.value))
    return said


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    mp.spawn(of_process, (folder,), nprocs=PROCESSES)
    return folder


@pytest.mark.xdist_group("backbone_sharding")
@pytest.mark.parametrize("name", VARIANTS)
def test_processes_find_the_states_the_gradients_and_the_words_of_one(results: Path, name: str) -> None:
    for rank in range(PROCESSES):
        whole = tiny(**VARIANTS[name])
        expected = states_and_gradients(whole, rank)
        shared = torch.load(results / f"{name}.{rank}")
        assert shared["found"].keys() == expected.keys()
        torch.testing.assert_close(shared["found"], expected, rtol=1e-5, atol=1e-5)
        assert shared["words"] == whole.generate(TEXTS, 4)


@pytest.mark.xdist_group("backbone_sharding")
def test_each_process_holds_its_part_of_every_layer(results: Path) -> None:
    layers = sum(each.numel() for each in tiny().body.layers.parameters())
    for rank in range(PROCESSES):
        assert torch.load(results / f"frozen.{rank}")["held"] == layers / PROCESSES


@pytest.mark.xdist_group("backbone_sharding")
def test_what_places_the_weights_otherwise_is_refused(results: Path) -> None:
    said = torch.load(results / "refusals.0")
    assert [each.splitlines()[0] for each in said] == [
        "backbone.shard: does not go with backbone.device_map",
        "backbone.shard: does not go with backbone.quantization",
    ]
    assert all("hint: " in each for each in said)


def test_one_process_has_nobody_to_share_with() -> None:
    with pytest.raises(InputError) as caught:
        tiny(shard=True)
    assert str(caught.value) == (
        "backbone.shard: there is one process, and nothing to share the weights with\n"
        "  hint: start several (--processes 2, or torchrun), or --set backbone.shard=false: results stay found"
    )
    assert tiny(shard="auto").sharded is False
