"""Starting a command as several processes on this machine, by torch's elastic launcher."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final

from glta_cli.core.errors import GltaError, InputError, InterruptedRunError
from glta_cli.core.interruption import CONTINUE
from glta_cli.core.process_memory import available_memory, machine_memory
from glta_cli.core.terminal import say
from glta_cli.core.threads import COUNTING, permitted_threads, threads_asked_for
from glta_cli.core.world import LOCAL_RANK, LOCAL_SIZE, RANK, SIZE, STARTED_BY_US, left

# How long the others have to end by themselves once one was ended from outside.
END_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.1
# The first Ctrl-C stops after a step and the second one now; who does not obey, as one that is suspended, is ended.
HEEDED_SIGNALS: Final = 2
# One that had not come to handle signals yet ends by them.
POLITE: Final = {-signal.SIGINT: 130, -signal.SIGTERM: 143}
# What Python and its libraries take of each process for itself alone.
LEAST_BYTES: Final = 200 << 20
HOST: Final = "127.0.0.1"
# What torch would otherwise answer by an error in the middle of a start, which leaves alone what has been started.
TORCH_SIGNALS: Final = "TORCHELASTIC_SIGNALS_TO_HANDLE"
OURS: Final = (signal.SIGINT, signal.SIGTERM)


def run_in_processes(count: int, arguments: Sequence[str]) -> int:
    """Run `glta` with these arguments in so many processes at once, and return their exit code: the first one's.

    Ctrl-C and SIGTERM are passed on to all of them, once each; the third one ends them.

    Raises:
        GltaError: one of them was ended from outside.
        InputError: so many do not fit into the memory, whatever they do.
        InterruptedRunError: they were to stop, and did not by themselves.
    """
    _look_at_memory(count)
    # torch's own words about processes that end would stand between ours.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    os.environ[TORCH_SIGNALS] = "SIGHUP,SIGQUIT"
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    from torch.distributed import TCPStore
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, start_processes

    store = TCPStore(HOST, 0, is_master=True, wait_for_workers=False)
    running = _Running(store)
    with running.signals_passed_on():
        started = start_processes(
            name="glta",
            entrypoint=sys.executable,
            args=dict.fromkeys(range(count), ("-m", "glta_cli", *arguments)),
            envs={rank: _environment(rank, count, store.port) for rank in range(count)},
            logs_specs=DefaultLogsSpecs(),
        )
        try:
            running.watch(started)
            running.wait()
        finally:
            started.close()
    return running.code()


def _look_at_memory(count: int) -> None:
    """Warn where the libraries of so many processes alone take more than is free.

    Raises:
        InputError: they take more than there is at all.
    """
    taken, free, there = count * LEAST_BYTES, available_memory(), machine_memory()
    problem = f"so many take {_gibibytes(taken)} GiB before they compute"
    if there is not None and taken > there:
        raise InputError(
            f"{problem}, and there are {_gibibytes(there)} in all",
            location=f"--processes {count}",
            hint=_fewer(there),
        )
    if free is not None and taken > free:
        say(f"  [yellow]warning[/]: --processes {count}: {problem}, and {_gibibytes(free)} are free")


def _fewer(room: int) -> str:
    """What to type instead: as many as have room and a processor each."""
    most = min(room // LEAST_BYTES, permitted_threads()[0])
    return f"--processes {most} starts" if most > 1 else "leave it out: one process starts"


def _gibibytes(size: int) -> str:
    return f"{size / (1 << 30):,.2f}"


def _environment(rank: int, count: int, port: int) -> dict[str, str]:
    """What tells a process which one it is; it computes with its part of the processors."""
    told: dict[str, object] = {RANK: rank, SIZE: count, LOCAL_RANK: rank, LOCAL_SIZE: count}
    told |= {"MASTER_ADDR": HOST, "MASTER_PORT": port, STARTED_BY_US: count}
    # The store is this process's, and outlives each of them.
    told |= {"TORCHELASTIC_USE_AGENT_STORE": True, "TORCHELASTIC_RESTART_COUNT": 0}
    if threads_asked_for(os.environ) is None:
        told |= dict.fromkeys(COUNTING, max(1, permitted_threads()[0] // count))
    return {name: str(value) for name, value in told.items()}


class _Running:
    """The processes, and what became of them.

    Attributes:
        processes: by rank; none before they are started.
        signals: that came.
        ended: the ranks of those that did not end by themselves, and were ended here.
    """

    def __init__(self, store: Any) -> None:
        self.store = store
        self.started: Any = None
        self.processes: dict[int, Any] = {}
        self.signals: list[signal.Signals] = []
        self.waiting: deque[signal.Signals] = deque()
        self.ended: set[int] = set()

    @contextmanager
    def signals_passed_on(self) -> Iterator[None]:
        """A context in which Ctrl-C and SIGTERM go to the processes, once these are there."""
        before = {number: signal.signal(number, self._received) for number in OURS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def watch(self, started: Any) -> None:
        """Take up the processes, and pass on what came while they were started."""
        for number in OURS:  # torch 2.8 takes the signals whatever is said
            signal.signal(number, self._received)
        self.started = started
        self.processes = {rank: handler.proc for rank, handler in started.subprocess_handlers.items()}
        self._pass_on()

    def _received(self, number: int, frame: FrameType | None) -> None:
        self.signals.append(signal.Signals(number))
        self.waiting.append(signal.Signals(number))
        self._pass_on()

    def _pass_on(self) -> None:
        while self.processes:
            try:
                number = self.waiting.popleft()
            except IndexError:
                return
            alive = self._alive()
            if len(self.signals) > HEEDED_SIGNALS:
                # Only told: a signal may come inside `Popen.wait`, whose lock another wait would wait for.
                self.ended |= alive.keys()
                number = signal.SIGKILL
            for process in alive.values():
                with suppress(ProcessLookupError):
                    os.kill(process.pid, number)

    def wait(self) -> None:
        """Return once all have ended; where one failed the others have a while to end by themselves."""
        until: float | None = None
        known: set[int] = set()
        while self._alive():
            for rank in self.processes.keys() - self._alive().keys() - known:
                known.add(rank)
                self._leave_word_for(rank)
            if until is None and any(process.poll() for process in self.processes.values()):
                until = time.monotonic() + END_SECONDS
            if until is not None and time.monotonic() > until:
                self.ended |= self._alive().keys()
                self.started.close(signal.SIGTERM)
            time.sleep(LOOK_SECONDS)

    def _leave_word_for(self, rank: int) -> None:
        """Have the others know of one that failed without a word: who waits for it would not miss it."""
        code = self.processes[rank].returncode
        key = left(rank)
        if code == 0 or self.store.check([key]):
            return
        word: dict[str, Any] = {"told": True}
        if code in POLITE:
            word = {"signal": -code, "problem": f"stopped by {signal.Signals(-code).name}: what is done is kept"}
        self.store.set(key, json.dumps(word))

    def _alive(self) -> dict[int, Any]:
        return {rank: process for rank, process in self.processes.items() if process.poll() is None}

    def code(self) -> int:
        """The exit code of the whole; raises as `run_in_processes` does."""
        codes = {rank: process.returncode for rank, process in self.processes.items() if rank not in self.ended}
        found = {rank: POLITE.get(code, code) for rank, code in codes.items()}
        for rank, code in found.items():
            if code < 0:
                number = signal.Signals(-code)
                raise GltaError(
                    f"process {rank + 1} of {len(self.processes)} was ended by {number.name}",
                    hint="where memory is short, fewer --processes take less" if number == signal.SIGKILL else CONTINUE,
                )
        if 0 not in found and not self.signals:
            # Who tells what happened to the others is the first one.
            others = "".join(f"; process {rank + 1} ended with code {code}" for rank, code in found.items() if code)
            raise GltaError(
                f"process 1 of {len(self.processes)} did not end by itself within {END_SECONDS:.0f} s{others}",
                hint=CONTINUE,
            )
        if 0 not in found:
            raise InterruptedRunError(
                f"ended by {self.signals[0].name}: what was saved before is kept",
                signal_number=self.signals[0],
                hint=CONTINUE,
            )
        return found[0] or next((code for code in found.values() if code), 0)
