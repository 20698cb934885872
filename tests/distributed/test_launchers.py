"""torchrun and accelerate launch start a command as `--processes` does; what cannot be is refused."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from typer.testing import CliRunner

from glta_cli.core.errors import InputError
from glta_cli.core.world import World, launched
from glta_cli.main import app

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


def test_another_number_of_processes_than_a_launcher_started_is_refused(
    tiny_recipe_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("glta_cli.commands.processes.launched", lambda: World(0, 2))
    command = ["align", "--recipe", str(tiny_recipe_file), "--processes", "3"]
    with pytest.raises(InputError) as refused:
        CliRunner().invoke(app, command, catch_exceptions=False)
    assert str(refused.value) == (
        "--processes 3: 2 processes were started by a launcher\n"
        "  hint: leave it out with torchrun and accelerate launch"
    )


@pytest.mark.parametrize(("rank", "size"), [("2", "2"), ("-1", "2"), ("0", "two")])
def test_variables_of_a_launcher_that_make_no_sense_are_named(
    monkeypatch: pytest.MonkeyPatch, rank: str, size: str
) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", size)
    launched.cache_clear()
    with pytest.raises(InputError) as refused:
        launched()
    launched.cache_clear()
    assert refused.value.location in ("RANK", "WORLD_SIZE")


WAITING_SOON = """
from glta_cli.core import process_group

process_group.LATE_SECONDS = 0.1
from glta_cli.main import main

main()
"""


@pytest.mark.parametrize(
    ("rank", "number", "code", "last_word"),
    [
        ("0", signal.SIGINT, 130, "interrupted\n"),
        ("0", signal.SIGTERM, 143, "terminated\n"),
        ("1", signal.SIGTERM, 143, ""),
    ],
)
def test_who_waits_for_the_others_says_so_and_can_be_stopped(
    environment: dict[str, str], rank: str, number: int, code: int, last_word: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    told = {"RANK": rank, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    command = [sys.executable, "-c", WAITING_SOON, "align", "--recipe", "quickstart"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**environment, **told}) as process:
        assert process.stderr is not None
        limit = Timer(60, process.kill)
        limit.start()
        try:
            waiting = process.stderr.readline()
            process.send_signal(number)
            assert process.wait(60) == code
            assert process.stderr.read() == last_word
        finally:
            limit.cancel()
            process.kill()
    others = "waiting for up to 30 minutes for the other processes, 1 of 2, to come up\n"
    first = f"process 2 of 2 waits for up to 30 minutes for the first one, at 127.0.0.1:{port}, and the others\n"
    assert waiting == (others if rank == "0" else first)


@pytest.mark.parametrize("name", ["MASTER_ADDR", "MASTER_PORT"])
def test_a_launcher_that_does_not_say_where_to_meet_is_told_what_is_missing(
    environment: dict[str, str], name: str
) -> None:
    told = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    del told[name]
    command = [sys.executable, "-m", "glta_cli", "align", "--recipe", "quickstart"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**environment, **told})
    assert done.returncode == 2
    assert done.stderr.startswith(f"{name}: is not set, but RANK and WORLD_SIZE are\n  hint: ")
