"""torchrun and accelerate launch start a command as `--processes` does; what cannot be is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.xdist_group("processes")

LAUNCHERS = {
    "torchrun": ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"),
    # Its name for torchrun on one machine, whatever computes.
    "accelerate": (
        *("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
        *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"),
    ),
}


@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_launcher_of_torch_starts_a_stage_by_two(
    glta: Callable[..., Any], by_one: Path, up_to: Callable[..., Path], assert_same: Callable[..., None], name: str
) -> None:
    root = up_to("align", "describe-users", "finetune", "index")
    done = glta("align", root, "--json", launcher=LAUNCHERS[name])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["details"]["processes"] == 2  # results of one of them, and nothing else
    assert_same(by_one, root, "align")


def test_another_number_of_processes_than_a_launcher_started_is_refused(shared_recipe: Path) -> None:
    started = {**os.environ, "RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}
    started |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    command = [sys.executable, "-m", "glta_cli", "align", "--recipe", str(shared_recipe), "--processes", "3"]
    done = subprocess.run(command, capture_output=True, text=True, env=started, timeout=120)
    assert done.returncode == 2
    assert done.stderr == (
        "--processes 3: 2 processes were started by a launcher\n"
        "  hint: leave it out with torchrun and accelerate launch\n"
    )
