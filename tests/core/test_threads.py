"""Processor threads: as many as may run and are free, what a user set stays, and a training goes on with its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from glta_cli.core import threads
from glta_cli.core.threads import Threads, chosen_threads, cpu_quota, free_processors, threads_asked_for
from glta_cli.core.waiting_threads import PATIENT, wait_patiently

SAID = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
TOLD = re.compile(r" *\d+ (of \d+ )?threads?: ")
processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
several = pytest.mark.skipif(processors < 2, reason="one processor")


def unsaid(**environment: str) -> dict[str, str]:
    """The environment of somebody who said nothing about threads."""
    return {name: value for name, value in os.environ.items() if name not in SAID} | environment


def run(code: str, environment: dict[str, str], *arguments: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, check=True
    )
    return finished.stdout


def test_beside_busy_processes_one_thread_computes() -> None:
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * processors)]
    try:
        code = "from glta_cli.core.threads import chosen_threads; print(chosen_threads())"
        said = run(code, unsaid())
    finally:
        for process in busy:
            process.kill()
            process.wait()
    if processors == 1:
        assert said.startswith("1 thread: ")
    else:
        assert said == f"1 of {processors} threads: the machine is busy\n"


@pytest.mark.parametrize(
    ("most", "had", "free"),
    [
        (2, [2.0], 2),  # idle
        (2, [1.9], 2),  # but for what the system does
        (2, [1.33, 1.33, 1.33], 1),  # one other process
        (2, [0.67, 0.67, 0.67], 1),  # four of them
        (2, [0.7, 1.98], 2),  # a burst that passed
        (8, [5.33, 5.33, 5.33], 4),  # four others on eight processors
        (8, [0.01, 0.01, 0.01], 1),
    ],
)
def test_others_take_their_part_of_the_processors(
    most: int, had: list[float], free: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter(had)
    monkeypatch.setattr(threads, "_processors_had", lambda count: next(looks))
    assert free_processors(most) == free


@several
def test_a_process_bound_to_one_processor_takes_one_thread() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from glta_cli.core.threads import chosen_threads; print(chosen_threads())"
    )
    assert run(code, unsaid()) == "1 thread: this process may use no other processors\n"


@pytest.mark.parametrize(
    ("files", "own", "quota"),
    [
        ({"cpu.max": "150000 100000"}, "0::/", 1.5),
        ({"cpu.max": "max 100000"}, "0::/", None),
        (
            {"cpu.max": "400000 100000", "box/cpu.max": "50000 100000", "box/in/cpu.max": "max 100000"},
            "0::/box/in",
            0.5,
        ),
        # Version 1, as seen from inside a container: the path is that outside.
        ({"cpu,cpuacct/cpu.cfs_quota_us": "300000", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, "4:cpu,cpuacct:/d", 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "1:cpu:/", None),
        ({"cpu.max": "nonsense"}, "0::/", None),
        ({}, "", None),
    ],
)
def test_a_containers_quota_is_found(files: dict[str, str], own: str, quota: float | None, tmp_path: Path) -> None:
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    (tmp_path / "own").write_text(f"2:memory:/elsewhere\n{own}\n")
    assert cpu_quota(tmp_path / "cgroup", tmp_path / "own") == quota


def test_with_a_quota_no_more_threads_run_than_it_pays_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SAID:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(threads, "cpu_quota", lambda: 0.5)
    assert chosen_threads() == Threads(1, 1, "the container may use 0.5 processors")


def test_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert (chosen_threads().count, chosen_threads().reason) == (3, "OMP_NUM_THREADS is set")
    assert threads_asked_for({"OMP_NUM_THREADS": "all", "MKL_NUM_THREADS": "2"}) == ("MKL_NUM_THREADS", 2)
    assert threads_asked_for({}) is None
    for said in ({"OMP_WAIT_POLICY": "ACTIVE"}, {"GOMP_SPINCOUNT": "5"}, {"KMP_BLOCKTIME": "200"}):
        environment = dict(said)
        wait_patiently(environment)
        assert environment == said
    environment = {}
    wait_patiently(environment)
    assert environment == PATIENT


def test_a_command_says_its_threads_and_the_manifest_keeps_them(tiny_recipe_file: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "glta_cli", "pretrain-graph", "--recipe", str(tiny_recipe_file), "--data-dir"]
    chosen = subprocess.run([*words, str(tmp_path / "a")], env=unsaid(), capture_output=True, text=True)
    assert chosen.returncode == 0, chosen.stderr
    environment = environment_of(tmp_path / "a")
    [line] = [line.strip() for line in chosen.stderr.splitlines() if TOLD.match(line)]
    assert line.startswith(f"{environment['threads']} ")
    assert line.endswith(f": {environment['threads_reason']}")

    asked = subprocess.run(
        [*words, str(tmp_path / "b")], env=unsaid(OMP_NUM_THREADS="1"), capture_output=True, text=True
    )
    assert asked.returncode == 0, asked.stderr
    assert not any(TOLD.match(line) for line in asked.stderr.splitlines())
    environment = environment_of(tmp_path / "b")
    assert (environment["threads"], environment["threads_reason"]) == (1, "OMP_NUM_THREADS is set")


def environment_of(root: Path) -> dict[str, object]:
    return json.loads(next(root.glob("stages/pretrain-graph/*/manifest.json")).read_text())["environment"]


STOPPED_OR_NOT = """
import os, signal, sys
from pathlib import Path
import yaml
from glta_cli.core import threads
from glta_cli.core.errors import InterruptedRunError
from glta_cli.recipe.files import recipe_from
from glta_cli.stages.pipeline import Pipeline
from glta_cli.training import loop
from glta_cli.workspace.workspace import Workspace

free, stop_at = int(sys.argv[3]), int(sys.argv[4])
threads.free_processors = lambda most: min(most, free)
take_step = loop._Loop.take_step
def stopping(self, batch):
    take_step(self, batch)
    if self.progress.step == stop_at:
        os.kill(os.getpid(), signal.SIGINT)
loop._Loop.take_step = stopping
recipe = recipe_from(yaml.safe_load(Path(sys.argv[1]).read_text()), [])
try:
    Pipeline("toy", recipe, Workspace(Path(sys.argv[2])), device="cpu").ensure("pretrain-graph")
except InterruptedRunError:
    print("stopped")
"""


@several
def test_a_training_goes_on_with_as_many_threads_as_it_was_begun_with(tiny_recipe_file: Path, tmp_path: Path) -> None:
    root = str(tmp_path / "data")
    assert run(STOPPED_OR_NOT, unsaid(), str(tiny_recipe_file), root, "2", "3") == "stopped\n"
    # The machine is busy by now.
    assert run(STOPPED_OR_NOT, unsaid(), str(tiny_recipe_file), root, "1", "0") == ""
    environment = environment_of(Path(root))
    assert (environment["threads"], environment["threads_reason"]) == (2, "as many as it was begun with")


@several
def test_who_sets_a_count_has_it_for_a_training_that_goes_on_too(tiny_recipe_file: Path, tmp_path: Path) -> None:
    root = str(tmp_path / "data")
    assert run(STOPPED_OR_NOT, unsaid(), str(tiny_recipe_file), root, "2", "3") == "stopped\n"
    assert run(STOPPED_OR_NOT, unsaid(OMP_NUM_THREADS="1"), str(tiny_recipe_file), root, "2", "0") == ""
    assert environment_of(Path(root))["threads"] == 1
