"""What becomes of the processes that `--processes N` starts, whatever they do: here each is a line of shell."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch.distributed.elastic import multiprocessing
from typer.testing import CliRunner

from glta_cli.core import launching, process_memory
from glta_cli.core.errors import GltaError, InputError, InterruptedRunError
from glta_cli.core.launching import LEAST_BYTES, run_in_processes
from glta_cli.main import app

pytestmark = [
    pytest.mark.xdist_group("processes"),
    pytest.mark.skipif(sys.platform == "win32", reason="a shell starts them"),
]


@pytest.fixture
def shells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have each process run a line of shell, by rank."""

    def run(*lines: str) -> None:
        script = tmp_path / "python"
        cases = "\n".join(f"{rank}) {line} ;;" for rank, line in enumerate(lines))
        script.write_text(f'#!/bin/sh\ncase "$RANK" in\n{cases}\nesac\n')
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))

    return run


def gone(pids: list[int]) -> bool:
    def there(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True

    return bool(pids) and not any(map(there, pids))


@pytest.fixture
def once_started(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], list[int]]:
    """Have something happen once torch has started the processes, before it says which; their ids."""

    def do(then: Callable[[], Any]) -> list[int]:
        start, pids = multiprocessing.start_processes, []

        def started(**options: Any) -> Any:
            processes = start(**options)
            pids.extend(processes.pids().values())
            then()
            return processes

        monkeypatch.setattr(multiprocessing, "start_processes", started)
        return pids

    return do


def test_a_signal_while_processes_are_started_stops_them(
    shells: Callable[..., None], once_started: Callable[..., list[int]]
) -> None:
    shells("exec sleep 60", "exec sleep 60")
    pids = once_started(lambda: os.kill(os.getpid(), signal.SIGINT))
    before = signal.getsignal(signal.SIGINT)
    assert run_in_processes(2, []) == 130
    assert gone(pids)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_third_signal_ends_who_does_not_answer(
    shells: Callable[..., None],
    once_started: Callable[..., list[int]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    deaf = tmp_path / "deaf"
    shells("exec sleep 60", f"trap '' INT; echo > '{deaf}'; exec sleep 60")
    pids, sleep, sent = once_started(lambda: None), time.sleep, []

    def interrupted_sleep(seconds: float) -> None:
        if len(sent) < 3 and deaf.exists():
            sent.append(seconds)
            os.kill(os.getpid(), signal.SIGINT)
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", interrupted_sleep)
    begun = time.monotonic()
    assert run_in_processes(2, []) == 130  # as the first one, which obeyed
    assert len(sent) == 3
    assert time.monotonic() - begun < launching.END_SECONDS
    assert gone(pids)


def test_where_the_first_one_does_not_answer_that_is_told(
    shells: Callable[..., None], once_started: Callable[..., list[int]]
) -> None:
    shells("kill -STOP $$", "kill -STOP $$")
    pids = once_started(lambda: [os.kill(os.getpid(), signal.SIGTERM) for _ in range(3)])
    with pytest.raises(InterruptedRunError, match="ended by SIGTERM: what was saved before is kept"):
        run_in_processes(2, [])
    assert gone(pids)


def test_the_first_one_that_does_not_end_after_another_failed_is_named(
    shells: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "END_SECONDS", 0.2)
    shells("exec sleep 60", "exit 3")
    with pytest.raises(GltaError) as told:
        run_in_processes(2, [])
    assert str(told.value) == (
        "process 1 of 2 did not end by itself within 0 s; process 2 ended with code 3\n"
        "  hint: run the same command again to continue"
    )


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give this process room for some processes: of a container, in which something is taken."""

    def limited(room: float, *, taken: str) -> None:
        limit = int(room * LEAST_BYTES)
        (tmp_path / "meminfo").write_text("MemTotal: 167772160 kB\nMemAvailable: 83886080 kB\nSwapTotal: 0 kB\n")
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        (tmp_path / "memory.current").write_text(f"{limit}\n")
        (tmp_path / "memory.stat").write_text(f"anon 0\n{taken} {limit}\n")
        monkeypatch.setattr(process_memory, "MACHINE", tmp_path / "meminfo")
        monkeypatch.setattr(process_memory, "CONTAINER", tmp_path)

    return limited


def test_more_processes_than_the_container_has_memory_for_are_not_started(
    tiny_recipe_file: Path, container: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    container(3.9, taken="active_file")
    monkeypatch.setattr(launching, "permitted_threads", lambda: (64, ""))
    command = ["align", "--recipe", str(tiny_recipe_file), "--processes", "4"]
    with pytest.raises(InputError) as refused:
        CliRunner().invoke(app, command, catch_exceptions=False)
    assert str(refused.value) == (
        "--processes 4: so many take 0.78 GiB before they compute, and there are 0.76 in all\n"
        "  hint: --processes 3 starts"
    )


@pytest.mark.parametrize(("taken", "warned"), [("active_file", False), ("anon", True)])
def test_processes_that_fit_start_and_are_warned_of_where_memory_is_in_use(
    shells: Callable[..., None],
    container: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    taken: str,
    warned: bool,
) -> None:
    shells("exit 0", "exit 0")
    container(2.01, taken=taken)
    assert run_in_processes(2, []) == 0
    told = re.sub(r"\s+", " ", capsys.readouterr().err)
    assert ("warning: --processes 2: so many take 0.39 GiB before they compute, and 0.00 are free" in told) == warned
