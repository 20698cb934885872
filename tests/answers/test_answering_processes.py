"""Processes that answer: what they raise is raised where they were asked, and they end with whoever asks."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from glta_cli.answers.answering_processes import answering_processes
from glta_cli.core.errors import GltaError, InputError


def refused(problem: str, place: str) -> None:
    raise InputError(problem, location=place, hint="another")


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_every_question_is_answered_once_by_several() -> None:
    with answering_processes(3, partial, pow, 2) as processes:
        found = dict(processes.answers(iter([(number, number) for number in range(40)])))
    assert found == {number: 2**number for number in range(40)}


def test_one_that_is_early_waits_for_those_before_it() -> None:
    with answering_processes(2, partial, time.sleep) as processes:
        order = [number for number, _ in processes.answers(iter([(0, 0.5), (1, 0), (2, 0), (3, 0)]), ahead=2)]
    assert order.index(2) > order.index(0)


def test_what_is_raised_there_is_raised_here() -> None:
    with answering_processes(1, partial, int) as processes, pytest.raises(ValueError, match="invalid literal"):
        list(processes.answers(iter([(0, "ten")])))


def test_an_error_keeps_its_place_and_its_hint() -> None:
    with answering_processes(1, partial, refused, "is wrong") as processes, pytest.raises(InputError) as caught:
        list(processes.answers(iter([(0, "here")])))
    assert str(caught.value) == "here: is wrong\n  hint: another"


def test_a_process_that_ends_is_told() -> None:
    with (
        answering_processes(1, partial, os._exit) as processes,
        pytest.raises(GltaError, match="ended with the code 3"),
    ):
        list(processes.answers(iter([(0, 3)])))


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes by /proc")
def test_they_end_with_whoever_asks_even_killed() -> None:
    code = (
        "import os, signal; from functools import partial\n"
        "from glta_cli.answers.answering_processes import answering_processes\n"
        "with answering_processes(1, partial, eval) as processes:\n"
        "    [(_, there)] = processes.answers(iter([(0, \"__import__('os').getpid()\")]))\n"
        "    print(there, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == -9, ended.stderr
    deadline = time.monotonic() + 20
    while alive(int(ended.stdout)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(int(ended.stdout))
