"""Two processes that hold half of each layer, or half of the head, through all stages; one that holds it all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from glta_cli.core.errors import InputError, InputErrors
from glta_cli.recipe.schema import Recipe
from glta_cli.stages.finetune import Finetune
from glta_cli.stages.pipeline import Pipeline
from glta_cli.workspace.workspace import Workspace

# Batches of one prompt are left over for one of two processes: the other one has to take part all the same.
UNEVEN: dict[str, Any] = {
    "align": {"prompts": 33, "validation_prompts": 9},
    "interests": {"profile": True, "prediction": False, "new_tokens": 3},
    "finetune": {
        "warm_start_users": 0,
        "training": {"epochs": 4, "patience": 4, "batch_size": 59, "learning_rate": 0.01, "warmup_steps": 0},
    },
}
LAYERS = ("backbone.shard=true", {"backbone": {"name": "tiny", "lora": {"rank": 2}}})
HEAD = ("finetune.shard_catalogue=true", {"finetune": {**UNEVEN["finetune"], "head": "linear"}})


def evaluated(recipe: Path, root: Path, *options: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """What `glta evaluate` measures, and the tensors of the index it ranks by."""
    command = [sys.executable, "-m", "glta_cli", "evaluate", "--recipe", str(recipe), "--data-dir", str(root)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, "--json", *options], capture_output=True, text=True, env=environment, timeout=400)
    assert done.returncode == 0, done.stderr
    [vectors] = (root / "stages" / "index").glob("*/vectors.safetensors")
    return json.loads(done.stdout), load_file(vectors)


@pytest.mark.slow
@pytest.mark.parametrize(("setting", "changes"), [LAYERS, HEAD], ids=["layers", "head"])
def test_two_processes_that_hold_half_each_find_what_one_finds(
    tiny_settings: dict[str, Any], tmp_path: Path, setting: str, changes: dict[str, Any]
) -> None:
    chosen = UNEVEN | changes
    values = {name: section | chosen.get(name, {}) for name, section in tiny_settings.items()}
    recipe = tmp_path / "toy.yaml"
    recipe.write_text(yaml.safe_dump(values))
    report, index = evaluated(recipe, tmp_path / "one")
    shared, shared_index = evaluated(recipe, tmp_path / "two", "--processes", "2", "--set", setting)
    assert shared["models"].keys() == report["models"].keys()
    for name, metrics in report["models"].items():
        for metric, value in metrics.items():
            if isinstance(value, float):
                assert shared["models"][name][metric] == pytest.approx(value, abs=1e-5), (name, metric)
    for name, tensor in index.items():
        if tensor.is_floating_point():
            # Adam divides small gradients by their own size, and so their rounding too.
            torch.testing.assert_close(shared_index[name], tensor, rtol=1e-3, atol=1e-3 * float(tensor.abs().max()))
    stages = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one" / "stages").glob("*/*"))
    assert stages == sorted(path.relative_to(tmp_path / "two") for path in (tmp_path / "two" / "stages").glob("*/*"))


def test_one_process_is_refused_before_anything_is_trained(tiny_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    pipeline = Pipeline("toy", tiny_recipe("backbone.shard=true"), Workspace(tmp_path / "w"), device="cpu")
    with pytest.raises(InputError, match="there is one process") as caught:
        pipeline.ensure("finetune")
    assert caught.value.location == "backbone.shard"
    assert {path.name for path in (tmp_path / "w" / "stages").iterdir()} <= {"prepare"}


def test_a_head_that_would_be_sampled_is_not_shared(tiny_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    settings = ("finetune.head=linear", "finetune.shard_catalogue=true", "finetune.softmax_items=39")
    with pytest.raises(InputError) as caught:
        Pipeline("toy", tiny_recipe(*settings), Workspace(tmp_path / "w"), device="cpu").ensure("finetune")
    assert str(caught.value) == (
        "finetune.shard_catalogue: the loss samples 39 of 40 items, and shards score all of them\n"
        "  hint: --set finetune.softmax_items=40, or leave out finetune.shard_catalogue"
    )


def test_a_tied_head_has_no_rows_to_share(tiny_recipe: Callable[..., Recipe]) -> None:
    with pytest.raises(InputErrors, match="the tied head trains no row of an item"):
        tiny_recipe("finetune.shard_catalogue=true")


def test_where_the_rows_of_the_head_lie_trains_nothing_again(tiny_recipe: Callable[..., Recipe]) -> None:
    whole, parts = (
        tiny_recipe("finetune.head=linear", f"finetune.shard_catalogue={each}") for each in ("false", "true")
    )
    assert Finetune().settings(whole) == Finetune().settings(parts)
    assert "shard_catalogue" not in Finetune().settings(whole)["finetune"]
