"""Processor threads: as many as this process may use and nobody else keeps busy, found by measuring.

Threads of a pool meet after every product of matrices, and wait for the last. On processors that others keep busy that
one is always late, so that two threads take longer than one; spinning while they wait, they take its time as well.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

# What a user says of their number is left as it is said.
COUNTING: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")

# Of measuring: the scheduler has dealt with every thread in this time, and a burst of others' work has passed.
SAMPLE_SECONDS, PAUSE_SECONDS, SAMPLES = 0.04, 0.03, 3
MOST_MEASURED = 64
# Of a processor: so much is the system's own.
SLACK = 0.25
# Stages that follow each other faster share a look.
FRESH_SECONDS = 2.0
_BLOCK: Final = bytes(1 << 20)

CGROUPS: Final = Path("/sys/fs/cgroup")
OWN_CGROUPS: Final = Path("/proc/self/cgroup")


@dataclass(frozen=True)
class Threads:
    """How many threads compute, of how many this process may have, and why so many."""

    count: int
    most: int
    reason: str

    def __str__(self) -> str:
        many = f"{self.count} thread{'s' * (self.count != 1)}"
        return f"{f'{self.count} of {self.most} threads' if self.most != self.count else many}: {self.reason}"


@dataclass(frozen=True)
class _InUse:
    """What this process computes with: the choice, what torch said once it was set, and when it was made."""

    threads: Threads
    set_to: int
    at: float


_in_use: list[_InUse] = []


def chosen_threads(at_most: int | None = None) -> Threads:
    """How many threads would compute now: what the user set, else as many as may run and are not kept busy by others.

    It measures where there are several, a twentieth of a second on an idle machine, a fifth on a busy one.

    Args:
        at_most: what the library that computes would take by itself.
    """
    most, reason = permitted_threads()
    asked = threads_asked_for(os.environ)
    if asked is not None:
        name, count = asked
        return Threads(count, max(most, count), f"{name} is set")
    if at_most is not None and at_most < most:
        most, reason = max(1, at_most), "torch takes no more here"
    if most == 1:
        return Threads(1, 1, reason)
    free = free_processors(most)
    return Threads(free, most, "the machine is busy" if free < most else reason)


def compute_with_free_processors(begun_with: int | None = None) -> Threads:
    """Choose how many threads torch and BLAS compute with from here on, and say so where that is not as before.

    What the user or the program around set in torch is the most there will be.

    Args:
        begun_with: threads of the training that is now continued: their number can show in the last bits of a sum.
    """
    import torch

    before = _in_use[-1] if _in_use and _in_use[-1].set_to == torch.get_num_threads() else None
    if threads_asked_for(os.environ) is not None:
        threads = replace(chosen_threads(), count=torch.get_num_threads())
    elif begun_with is not None:
        threads = Threads(begun_with, max(begun_with, permitted_threads()[0]), "as many as it was begun with")
    elif before is not None and time.monotonic() - before.at < FRESH_SECONDS:
        threads = before.threads
    else:
        threads = chosen_threads(before.threads.most if before else torch.get_num_threads())
    if threads_asked_for(os.environ) is None:
        compute_with_threads(threads.count)
        if before is None or before.threads != threads:
            _say(threads)
    _in_use[:] = [_InUse(threads, torch.get_num_threads(), time.monotonic())]
    return threads


def compute_with_threads(count: int) -> None:
    """Have torch and BLAS compute with so many threads from here on, whatever else runs."""
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(count)
    threadpool_limits(limits=count, user_api="blas")


def threads_in_use() -> Threads | None:
    """What this process computes with; None before it was chosen."""
    return _in_use[-1].threads if _in_use else None


def _say(threads: Threads) -> None:
    from glta_cli.core.terminal import say

    say(f"  {threads}")


def threads_asked_for(environment: Mapping[str, str]) -> tuple[str, int] | None:
    """The variable with which the user sets a count, and the count; None where none does."""
    for name in COUNTING:
        # OpenMP takes a list too, the first of which is for us.
        first = environment.get(name, "").split(",")[0].strip()
        if first.isdecimal() and int(first) > 0:
            return name, int(first)
    return None


def permitted_threads() -> tuple[int, str]:
    """How many processors this process may use at once, at least 1, and what says so."""
    count, reason = os.cpu_count() or 1, "the processors are free"
    if hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) < count:
        count, reason = len(os.sched_getaffinity(0)), "this process may use no other processors"
    quota = cpu_quota()
    # With a part of a processor more, threads would be stopped together in every period of the quota.
    if quota is not None and int(quota) < count:
        return max(1, int(quota)), f"the container may use {quota:.3g} processors"
    return count, reason


def cpu_quota(cgroups: Path = CGROUPS, own: Path = OWN_CGROUPS) -> float | None:
    """Processors' worth of time this process's control groups let it have, the least of them; None without a quota.

    Source: cpu.max of Documentation/admin-guide/cgroup-v2.rst and cpu.cfs_quota_us of scheduler/sched-bwc.rst of the
    Linux kernel.
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    found = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = cgroups / controllers if controllers else cgroups
        folder = base / path.lstrip("/")
        # Inside a container the path is that outside, and the container's own group is what is mounted.
        for each in (folder, *folder.parents):
            found.append(_quota_in(each))
            if each == base:
                break
    return min((quota for quota in found if quota is not None), default=None)


def _quota_in(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        return int(quota) / int(period) if quota != "max" and int(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None


def free_processors(most: int) -> int:
    """Of `most` processors, how many nobody else computes on, at least 1: the most of three looks where not all are.

    So many threads compute for a moment. Of n processors, with m threads of others, they get n/(n + m) of the time
    each, s = n²/(n + m) processors' worth together, as the scheduler deals out time evenly: n - m = 2n - n²/s are free.
    """
    measured = min(most, MOST_MEASURED)
    free = 1
    for look in range(SAMPLES):
        if look:
            time.sleep(PAUSE_SECONDS)
        share = _processors_had(measured)
        free = max(free, min(measured, int(2 * measured - measured**2 / share + SLACK)))
        if free == measured:
            return most
    return free


def _processors_had(count: int) -> float:
    """Processors' worth of time that so many threads get while they all compute; more than 0."""
    from hashlib import sha256

    seconds: list[float] = []
    start = time.perf_counter()
    end = start + SAMPLE_SECONDS

    def compute() -> None:
        begun = time.thread_time()
        while time.perf_counter() < end:
            sha256(_BLOCK)  # lets other threads of Python run meanwhile
        seconds.append(time.thread_time() - begun)

    threads = [threading.Thread(target=compute) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return max(sum(seconds) / (time.perf_counter() - start), 1e-3)
