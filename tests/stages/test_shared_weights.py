"""`backbone.shard` through all stages: two processes that hold half of each layer, against one that holds it all."""

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

from glta_cli.core.errors import InputError
from glta_cli.recipe.schema import Recipe
from glta_cli.stages.pipeline import Pipeline
from glta_cli.workspace.workspace import Workspace

# Batches of one prompt are left over for one of two processes: the other one has to run the model all the same.
UNEVEN: dict[str, Any] = {
    "backbone": {"name": "tiny", "lora": {"rank": 2}},
    "align": {"prompts": 33, "validation_prompts": 9},
    "interests": {"profile": True, "prediction": False, "new_tokens": 3},
    "finetune": {
        "warm_start_users": 0,
        "training": {"epochs": 2, "batch_size": 59, "learning_rate": 0.02, "warmup_steps": 0},
    },
}


def evaluated(recipe: Path, root: Path, *options: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """What `glta evaluate` measures, and the tensors of the index it ranks by."""
    command = [sys.executable, "-m", "glta_cli", "evaluate", "--recipe", str(recipe), "--data-dir", str(root)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, "--json", *options], capture_output=True, text=True, env=environment, timeout=400)
    assert done.returncode == 0, done.stderr
    [vectors] = (root / "stages" / "index").glob("*/vectors.safetensors")
    return json.loads(done.stdout), load_file(vectors)


@pytest.mark.slow
def test_two_processes_that_hold_half_of_each_layer_find_what_one_finds(
    tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    values = {name: {**section, **UNEVEN.get(name, {})} for name, section in tiny_settings.items()}
    recipe = tmp_path / "toy.yaml"
    recipe.write_text(yaml.safe_dump({**values, "interests": UNEVEN["interests"]}))
    report, index = evaluated(recipe, tmp_path / "one")
    shared, shared_index = evaluated(recipe, tmp_path / "two", "--processes", "2", "--set", "backbone.shard=true")
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
