"""Starting a command as several processes on this machine, by torch's elastic launcher."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final

from glta_cli.core.errors import GltaError
from glta_cli.core.threads import COUNTING, permitted_threads, threads_asked_for
from glta_cli.core.world import LOCAL_RANK, LOCAL_SIZE, RANK, SIZE, STARTED_BY_US

# How long the others have to end by themselves once one was ended from outside.
END_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.1
HOST: Final = "127.0.0.1"


def run_in_processes(count: int, arguments: Sequence[str]) -> int:
    """Run `glta` with these arguments in so many processes at once, and return their exit code: the first one's.

    Ctrl-C and SIGTERM are passed on to all of them, once each.

    Raises:
        GltaError: one of them was ended from outside.
    """
    # torch's own words about processes that end would stand between ours.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    from torch.distributed import TCPStore
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, start_processes

    store = TCPStore(HOST, 0, is_master=True, wait_for_workers=False)
    started = start_processes(
        name="glta",
        entrypoint=sys.executable,
        args=dict.fromkeys(range(count), ("-m", "glta_cli", *arguments)),
        envs={rank: _environment(rank, count, store.port) for rank in range(count)},
        logs_specs=DefaultLogsSpecs(),
    )
    try:
        with _signals_passed_on(started):
            codes = _codes(started)
    finally:
        started.close()
    return _code_of(codes)


def _environment(rank: int, count: int, port: int) -> dict[str, str]:
    """What tells a process which one it is; it computes with its part of the processors."""
    told: dict[str, object] = {RANK: rank, SIZE: count, LOCAL_RANK: rank, LOCAL_SIZE: count}
    told |= {"MASTER_ADDR": HOST, "MASTER_PORT": port, STARTED_BY_US: count}
    # The store is this process's, and outlives each of them.
    told |= {"TORCHELASTIC_USE_AGENT_STORE": True, "TORCHELASTIC_RESTART_COUNT": 0}
    if threads_asked_for(os.environ) is None:
        told |= dict.fromkeys(COUNTING, max(1, permitted_threads()[0] // count))
    return {name: str(value) for name, value in told.items()}


@contextmanager
def _signals_passed_on(started: Any) -> Iterator[None]:
    def pass_on(number: int, frame: FrameType | None) -> None:
        for handler in started.subprocess_handlers.values():
            if handler.proc.poll() is None:
                with suppress(ProcessLookupError):
                    os.kill(handler.proc.pid, number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _codes(started: Any) -> dict[int, int]:
    """The exit codes of all, by rank; where one failed the others have a while to end by themselves."""
    processes = {rank: handler.proc for rank, handler in started.subprocess_handlers.items()}
    until: float | None = None
    while any(process.poll() is None for process in processes.values()):
        if until is None and any(process.poll() for process in processes.values()):
            until = time.monotonic() + END_SECONDS
        if until is not None and time.monotonic() > until:
            started.close()
        time.sleep(LOOK_SECONDS)
    return {rank: process.returncode for rank, process in processes.items()}


def _code_of(codes: Mapping[int, int]) -> int:
    """The exit code of the whole; raises `GltaError` where a process was ended from outside."""
    # One that had not come to handle signals yet ends by them.
    polite = {-signal.SIGINT: 130, -signal.SIGTERM: 143}
    found = {rank: polite.get(code, code) for rank, code in codes.items()}
    for rank, code in found.items():
        if code < 0:
            number = signal.Signals(-code)
            raise GltaError(
                f"process {rank + 1} of {len(codes)} was ended by {number.name}",
                hint="where memory is short, fewer --processes take less"
                if number == signal.SIGKILL
                else "run the same command again to continue",
            )
    return found[0] or next((code for code in found.values() if code), 0)
