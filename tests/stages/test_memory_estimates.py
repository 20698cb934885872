"""What a stage is estimated to take: near what it takes, less where its settings say so, and told before it starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from glta_cli.commands.memory_table import memory_estimates
from glta_cli.core.errors import GltaError
from glta_cli.core.world import World
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.files import recipe_from
from glta_cli.recipe.schema import Recipe
from glta_cli.stages import stage_costs
from glta_cli.stages.estimates import Estimator
from glta_cli.stages.memory_estimates import HEAP, HEAP_BESIDE_FREED, MemoryEstimate, memory_of
from glta_cli.stages.memory_moments import FILE, Sizes, moment, trained_bytes
from glta_cli.stages.memory_room import tell_of_room
from glta_cli.stages.schedule import Schedule
from glta_cli.stages.stage_costs import COSTS
from glta_cli.training.best import IN_MEMORY
from glta_cli.workspace.workspace import Workspace

CPU = torch.device("cpu")
# Wider than what is promised, and than what tests/benchmarks/estimates.py shows at larger sizes.
NEAR = 0.25
SERVED = ("finetune", "serving-index")


@dataclass(frozen=True)
class Made:
    """Data of a size, as estimates count them."""

    user_count: int = 500
    item_count: int = 2_000
    each: int = 20

    @property
    def has_text(self) -> bool:
        return True

    @property
    def texts(self) -> list[str]:
        return ["a rope for the long way up, of forty metres"] * self.item_count

    def split(self, name: str) -> Interactions:
        each = self.each if name == "train" else 1
        users = np.repeat(np.arange(self.user_count), each)
        items = np.arange(len(users)) % self.item_count
        return Interactions.from_pairs(users, items, user_count=self.user_count, item_count=self.item_count)


LLAMA = {"model_type": "llama", "hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 6}
LLAMA |= {"num_attention_heads": 8, "num_key_value_heads": 8, "vocab_size": 258}
BACKBONE = {
    "name": "huggingface",
    "weights": "random",
    "options": {"architecture": LLAMA, "tokenizer": "bytes"},
}


def recipe_of(**sections: Any) -> Recipe:
    backbone = BACKBONE | sections.pop("backbone", {})
    return recipe_from({"dataset": {"name": "table", "source": "none"}, "backbone": backbone, **sections})


def estimate(stage: str, data: Any = None, *, processes: int = 1, **sections: Any) -> Any:
    found = memory_of(stage, Sizes(recipe_of(**sections), data or Made(), CPU, processes=processes))
    assert found is not None
    return found


def test_what_is_estimated_is_near_what_a_process_takes(
    tiny_settings: dict[str, Any], toy_table: Path, tmp_path: Path
) -> None:
    """Of a model that is as large as all libraries together, measured in a process that runs the stage alone."""
    recipe = tmp_path / "wide.yaml"
    finetune = tiny_settings["finetune"] | {"training": {"epochs": 1, "batch_size": 32}}
    recipe.write_text(yaml.safe_dump(tiny_settings | {"backbone": BACKBONE, "finetune": finetune}))

    def glta(*arguments: str) -> Any:
        command = [sys.executable, "-m", "glta_cli", *arguments, "--recipe", str(recipe), "--json"]
        environment = {**os.environ, "GLTA_DATA_DIR": str(tmp_path / "workspace"), "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    glta("align")
    told = glta("finetune", "--dry-run")["memory"]["stages"]
    assert {"encode-items", "pretrain-graph", "align", "finetune", "index"} <= told.keys()
    place = told["finetune"]["places"]["host"]
    assert sum(place["parts"].values()) == place["total"]
    manifest = json.loads((Path(glta("finetune")["folder"]) / "manifest.json").read_text())
    assert place["total"] == pytest.approx(manifest["peak_memory"], rel=NEAR)
    assert place["total"] > 1.5 * place["parts"]["process"], "the stage itself hardly counts"


@pytest.mark.parametrize("stage", list(COSTS))
def test_every_stage_is_estimated(stage: str) -> None:
    found: MemoryEstimate = estimate(stage)
    assert found.own("host") > 0
    assert found.as_dict()["places"]["host"]["total"] == found.total("host")


@pytest.mark.parametrize(
    ("stage", "fewer"),
    [
        ("encode-items", {"text": {"batch_size": 2}}),
        ("align", {"align": {"training": {"batch_size": 2}}}),
        ("describe-users", {"interests": {"batch_size": 2}}),
        ("finetune", {"finetune": {"training": {"batch_size": 2}}, "evaluate": {"batch_size": 2}}),
        ("index", {"evaluate": {"batch_size": 2}}),
        ("finetune", {"backbone": {"layers": 2}}),
        ("align", {"backbone": {"dtype": "bfloat16"}}),
        ("finetune", {"backbone": {"gradient_checkpointing": True}}),
    ],
)
def test_what_bounds_memory_lowers_the_estimate(stage: str, fewer: dict[str, Any]) -> None:
    assert estimate(stage, **fewer).own("host") < 0.9 * estimate(stage).own("host")


def test_more_nodes_or_pairs_of_items_take_more() -> None:
    small, large = (
        Made(user_count=50_000, item_count=5_000, each=2),
        Made(user_count=100_000, item_count=10_000, each=2),
    )
    ratio = estimate("pretrain-graph", large).own("host") / estimate("pretrain-graph", small).own("host")
    assert 1.7 < ratio < 2.1
    assert estimate("fit-linear", large).places["host"]["linear"] >= 12 * 10_000**2


def test_processes_share_batches_and_where_asked_frozen_weights() -> None:
    one, two = (estimate("finetune", processes=count).places["host"] for count in (1, 2))
    assert two["activations"] < 0.7 * one["activations"]
    assert two["weights"] == one["weights"]
    four = estimate("finetune", processes=4, backbone={"shard": True}).places["host"]
    # A quarter of six layers, and two that are gathered while they compute.
    assert four["weights"] == pytest.approx(one["weights"] * (1 / 4 + 2 / 6), rel=0.02)


def test_what_processes_validate_they_take_in_whole_batches() -> None:
    alone, shared = (estimate("align", processes=count).places["host"] for count in (1, 16))
    passing = ("activations", "keys and values")
    assert sum(shared[part] for part in passing) > 0.6 * sum(alone[part] for part in passing)


@pytest.mark.parametrize("shard", [True, "auto"])
def test_embeddings_that_stay_mapped_are_left_out_once(monkeypatch: pytest.MonkeyPatch, shard: Any) -> None:
    monkeypatch.setattr("glta_cli.stages.loaded_model.stays_mapped", lambda *_: True)
    # The embeddings alone are more than a share of this.
    monkeypatch.setattr("glta_cli.stages.loaded_model.machine_memory", lambda: 800 << 20)
    backbone = {"shard": shard, "options": {"architecture": LLAMA | {"vocab_size": 200_000}, "tokenizer": "bytes"}}
    one, two = (estimate("finetune", processes=count, backbone=backbone).places["host"]["weights"] for count in (1, 2))
    assert two == pytest.approx(one * (1 / 2 + 2 / 6), rel=0.01)


def test_what_a_pass_before_it_freed_stays_on_the_heap_of_a_cpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def moments(freed: int) -> Any:
        held = moment({}, freed=freed, weights=10 << 20, activations=100 << 20)
        return replace(COSTS["align"], moments=lambda sizes: iter([held]))

    def own(freed: int, device: torch.device) -> int:
        monkeypatch.setitem(stage_costs.COSTS, "align", moments(freed))  # type: ignore[arg-type]
        found = memory_of("align", Sizes(recipe_of(), Made(), device))
        assert found is not None
        return found.own("host" if device == CPU else "device") >> 20

    assert own(0, CPU) == 10 + 100 * HEAP
    assert own(50 << 20, CPU) == 10 + 150 * HEAP_BESIDE_FREED
    assert own(0, torch.device("cuda")) == own(50 << 20, torch.device("cuda")) == 110


def test_a_file_of_another_dtype_is_there_beside_the_weights_it_becomes() -> None:
    read = {"name": "smollm2", "weights": "pretrained", "layers": None, "options": {}}
    same, other = (estimate("index", backbone={**read, "dtype": dtype}) for dtype in ("float32", "bfloat16"))
    assert FILE not in same.places["host"]
    # All is there for a moment: float32 as it lies in the file, and half of it in bfloat16.
    parts = other.places["host"]
    assert parts[FILE] == 2 * parts["weights"]
    # Its pages keep nothing else out of the memory, so no warning counts them.
    sizes = Sizes(recipe_of(backbone={**read, "dtype": "bfloat16"}), Made(), CPU)
    needed = memory_of("index", sizes, files=False)
    assert needed is not None
    assert FILE not in needed.places["host"]
    assert needed.own("host") < other.own("host")


def test_weights_drawn_for_another_device_are_in_the_process_first() -> None:
    found = memory_of("index", Sizes(recipe_of(), Made(), torch.device("cuda")))
    assert found is not None
    assert found.places["host"]["drawn weights"] == found.places["device"]["weights"]


def test_a_tokenizer_is_counted_by_its_vocabulary() -> None:
    wide = {"options": {"architecture": LLAMA | {"vocab_size": 200_000}, "tokenizer": "bytes"}}
    assert estimate("align", backbone=wide).places["host"]["vocabulary"] == 900 * 200_000
    assert "vocabulary" not in estimate("align").places["host"]


@pytest.mark.parametrize("stage", ["align", "finetune"])
def test_what_is_trained_is_counted_by_settings_of_the_stage_itself(stage: str) -> None:
    other = {"align": "finetune", "finetune": "align"}[stage]
    narrow: Any = {"training": {"moments": "bfloat16"}}
    usual, own, others = (
        estimate(stage, **sections).places["host"]["trained"] for sections in ({}, {stage: narrow}, {other: narrow})
    )
    assert own < 0.9 * usual
    assert others == usual


def test_the_best_of_large_parameters_lies_on_the_disk() -> None:
    training = recipe_of().finetune.training
    most = IN_MEMORY // 4
    assert trained_bytes(most, training) == 20 * most
    assert trained_bytes(most + 1, training) == 16 * (most + 1)


def test_edges_on_the_disk_take_no_memory() -> None:
    data, edges = Made(user_count=20_000, item_count=1_000, each=100), 2_000_000
    memory, disk = (
        estimate("pretrain-graph", data, graph={"edges": place}).own("host") for place in ("memory", "disk")
    )
    assert memory - disk == 16 * edges


def test_samples_of_a_graph_take_its_edges_again_and_no_propagation_of_it() -> None:
    dense, sparse = Made(2_000, 500, each=250), Made(200_000, 50_000, each=2)
    sampled = {"neighbours": [2, 2], "softmax_items": 16, "training": {"batch_size": 16}}
    whole = sampled | {"neighbours": None}
    many = estimate("pretrain-graph", dense, graph=sampled).places["host"]
    assert many["loader"] >= 32 * 500_000
    assert "loader" not in estimate("pretrain-graph", dense, graph=whole).places["host"]
    few = [estimate("pretrain-graph", sparse, graph=settings).own("host") for settings in (sampled, whole)]
    assert few[0] < few[1]


def test_what_lowers_the_graph_s_memory_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("glta_cli.stages.memory_room.available_memory", lambda: 1 << 20)
    monkeypatch.setattr("glta_cli.stages.memory_room.MOST_TOLD", 10)
    in_memory = {"edges": "memory", "loss": "bpr", "training": {"batch_size": 16}}
    tell_of_room("pretrain-graph", recipe_of(graph=in_memory), Made(20_000, 1_000, each=100), CPU)
    assert "--set graph.edges=disk takes about" in capsys.readouterr().err
    tell_of_room("pretrain-graph", recipe_of(), Made(200_000, 50_000, each=2), CPU)
    assert "--set graph.training.moments=bfloat16 takes about" in capsys.readouterr().err


def test_a_catalogue_that_is_dealt_out_is_trained_in_parts() -> None:
    data, head = Made(item_count=20_000), {"head": "linear", "softmax_items": 20_000}
    whole, part = (
        estimate("finetune", data, processes=4, finetune=head | {"shard_catalogue": sharded}).places["host"]["trained"]
        for sharded in (False, True)
    )
    assert part < 0.3 * whole


def test_what_will_not_fit_is_told_with_what_lowers_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needed = estimate("finetune").own("host")
    monkeypatch.setattr("glta_cli.stages.memory_room.available_memory", lambda: needed - 2**20)
    tell_of_room("finetune", recipe_of(), Made(), CPU)
    told = capsys.readouterr().err
    assert f"finetune takes about {needed / 2**30:.1f} GiB, and " in told
    assert "--set finetune.training.batch_size=16 takes about " in told
    monkeypatch.setattr("glta_cli.stages.memory_room.available_memory", lambda: needed + 2**20)
    tell_of_room("finetune", recipe_of(), Made(), CPU)
    assert capsys.readouterr().err == ""


def test_what_no_machine_of_that_size_can_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glta_cli.stages.memory_room.available_memory", lambda: 1 << 20)
    monkeypatch.setattr("glta_cli.stages.memory_room.machine_memory", lambda: 50 << 20)
    with pytest.raises(GltaError, match="finetune cannot fit") as refused:
        tell_of_room("finetune", recipe_of(), Made(), CPU)
    assert "backbone" in str(refused.value.hint)


def test_a_stage_that_the_first_process_runs_is_counted_once_and_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    sharded: Any = {"backbone": {"shard": True}}
    monkeypatch.setattr("glta_cli.stages.memory_estimates.resident_memory", lambda: 1)
    monkeypatch.setattr("glta_cli.stages.schedule.launched", lambda: World(size=8, local_size=8))
    schedule = Schedule([], [], Estimator(recipe_of(**sharded), Made(), Workspace(tmp_path), CPU))
    shared, alone = (estimate("serving-index", processes=count, **sharded) for count in (8, 1))
    assert schedule.memory("serving-index") == shared.total("host") < alone.total("host")
    room = 3 * estimate("fit-linear", **sharded).own("host")
    monkeypatch.setattr("glta_cli.stages.memory_room.available_memory", lambda: room)
    schedule.tell_of_room("fit-linear")
    schedule.tell_of_room("refit-fit-linear")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("glta_cli.stages.memory_room.available_memory", lambda: alone.own("host"))
    schedule.tell_of_room("serving-index")
    assert "serving-index takes about" in capsys.readouterr().err
    monkeypatch.setattr("glta_cli.stages.serving_index.BuildServingIndex.shared", False)
    assert schedule.memory("serving-index") == alone.total("host")
    schedule.tell_of_room("serving-index")
    assert capsys.readouterr().err == ""


def test_the_table_of_memory_counts_each_stage_by_who_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glta_cli.stages.serving_index.BuildServingIndex.shared", False)
    pipeline: Any = SimpleNamespace(recipe=recipe_of(backbone={"shard": True}), device="cpu")
    made: Any = Made()
    one, eight = (
        {each.stage: each.places["host"]["weights"] for each in memory_estimates(SERVED, pipeline, made, processes)}
        for processes in (1, 8)
    )
    assert eight["serving-index"] == one["serving-index"]
    assert eight["finetune"] < one["finetune"]


def test_an_estimate_never_keeps_a_stage_from_running() -> None:
    recipe = recipe_of(backbone={"layers": 7})  # of a model of six: what loads it says so
    assert memory_of("finetune", Sizes(recipe, Made(), CPU)) is None


def test_what_a_training_loads_is_counted_before_it_is_loaded() -> None:
    """A dry run of an encoder alone has loaded less than its training will have."""
    program = (
        "import torch\n"
        "from glta_cli.core.process_memory import resident_memory\n"
        "from glta_cli.stages.memory_estimates import process_bytes\n"
        "foretold = process_bytes()\n"
        "import scipy.sparse, torch._dynamo\n"
        "print(foretold, resident_memory(), process_bytes())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    foretold, loaded, then = map(int, done.stdout.split())
    assert abs(foretold - loaded) < 32 << 20
    assert abs(then - loaded) < 4 << 20
