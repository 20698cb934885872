"""A signal to any of the processes stops all of them, and any number of them goes on."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.xdist_group("processes")

EPOCHS = "align.training={epochs: 60, batch_size: 8, patience: 60, validate_every: 20}"


@contextmanager
def begun(
    recipe: Path, root: Path, setting: str, step: str, environment: dict[str, str]
) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """An alignment by two processes that has come to a line on stderr, and what it said."""
    command = [sys.executable, "-m", "glta_cli", "align", "--recipe", str(recipe), "--data-dir", str(root)]
    command += ["--device", "cpu", "--processes", "2", "--set", setting]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)
    assert process.stderr is not None
    said = []
    try:
        while (character := process.stderr.read(1)) and not re.search(step, "".join(said)):
            said.append(character)
        yield process, said
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def child(parent: int, rank: int) -> int:
    """The process of that rank which another one started."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                own = (folder / "stat").read_text().rpartition(")")[2].split()[1] == str(parent)
                if own and f"RANK={rank}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                    return int(folder.name)
            except OSError:
                continue
    raise AssertionError(f"no process of rank {rank}")


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
def test_stopped_by_a_signal_to_any_one_and_continued_by_one_two_and_three(
    shared_recipe: Path,
    glta: Callable[..., Any],
    up_to: Callable[..., Path],
    assert_same: Callable[..., None],
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    root = up_to("align", "describe-users", "finetune", "index")
    whole = tmp_path / "whole"
    shutil.copytree(root, whole)
    with begun(shared_recipe, root, EPOCHS, r"align items 0/\d+ steps", environment) as (process, said):
        os.kill(child(process.pid, rank=1), signal.SIGTERM)
        assert process.wait(60) == 143
        assert process.stderr is not None
        told = "".join(said) + process.stderr.read()
    [step] = re.findall(r"stopped by SIGTERM after step (\d+); state saved\n  hint: run the same command again", told)
    assert 0 <= int(step) < 240

    uninterrupted = glta("align", whole, "--set", EPOCHS)
    assert uninterrupted.returncode == 0, uninterrupted.stderr
    # The language model whole in each, and its layers shared among them.
    for processes, shard in (("1", "false"), ("2", "false"), ("3", "true")):
        again = tmp_path / processes
        shutil.copytree(root, again)
        done = glta("align", again, "--set", EPOCHS, "--processes", processes, "--set", f"backbone.shard={shard}")
        assert done.returncode == 0, done.stderr
        assert f"continuing after step {step}" in done.stderr
        assert_same(whole, again, "align")


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
def test_a_process_that_is_killed_ends_the_others_and_is_named_once(
    shared_recipe: Path, up_to: Callable[..., Path], environment: dict[str, str]
) -> None:
    root = up_to("align", "describe-users", "finetune", "index")
    endless = EPOCHS.replace("60", "100000")
    with begun(shared_recipe, root, endless, r"align items 0/[\d,]+ steps", environment) as (process, _):
        os.kill(child(process.pid, rank=1), signal.SIGKILL)
        begun_at = time.monotonic()
        assert process.wait(90) == 1
        assert time.monotonic() - begun_at < 60
        assert process.stderr is not None
        told = process.stderr.read()
    assert told.endswith(
        "process 2 of 2 was ended by SIGKILL\n  hint: where memory is short, fewer --processes take less\n"
    )
    assert "Traceback" not in told


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_is_killed_before_they_have_met_is_missed_at_once(
    shared_recipe: Path, up_to: Callable[..., Path], environment: dict[str, str], rank: int
) -> None:
    root = up_to("align", "describe-users", "finetune", "index")
    command = [sys.executable, "-m", "glta_cli", "align", "--recipe", str(shared_recipe), "--data-dir", str(root)]
    command += ["--device", "cpu", "--processes", "2", "--set", EPOCHS.replace("60", "100000")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment) as it:
        try:
            os.kill(started(it.pid, rank), signal.SIGKILL)
            assert it.wait(80) == 1  # the other one comes up, and would wait until it is ended after 90 seconds
        finally:
            it.kill()
        assert it.stderr is not None
        told = it.stderr.read()
    named = f"process {rank + 1} of 2 was ended by SIGKILL"
    assert told.endswith(f"{named}\n  hint: where memory is short, fewer --processes take less\n")


def started(parent: int, rank: int) -> int:
    """The process of that rank as soon as it is there."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with suppress(AssertionError):
            return child(parent, rank)
        time.sleep(0.02)
    return child(parent, rank)


FAILING = """
import os

if os.environ.get("RANK") == "1":
    from glta_cli.core.errors import GltaError
    from glta_cli.language.alignment import AlignmentTask

    def loss(task, batch):
        raise GltaError("it does not fit", location="memory", hint="take less")

    AlignmentTask.loss = loss
"""


def test_what_fails_in_another_process_is_told_once_by_the_first(
    shared_recipe: Path, up_to: Callable[..., Path], environment: dict[str, str], tmp_path: Path
) -> None:
    root = up_to("align", "describe-users", "finetune", "index")
    (tmp_path / "sitecustomize.py").write_text(FAILING)
    paths = os.pathsep.join([str(tmp_path), *filter(None, [environment.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "glta_cli", "align", "--recipe", str(shared_recipe), "--data-dir", str(root)]
    done = subprocess.run(
        [*command, "--device", "cpu", "--processes", "2"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**environment, "PYTHONPATH": paths},
    )
    assert done.returncode == 1
    assert done.stderr.count("does not fit") == 1
    assert done.stderr.endswith("process 2 of 2: memory: it does not fit\n  hint: take less\n")
    assert not (root / "stages" / "align").exists() or not list((root / "stages" / "align").iterdir())
