"""Memory of this process and what is left for it, as the kernel counts it."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")
MACHINE = Path("/proc/meminfo")
# Of the container, where it has a limit of its own: what it may take, what it has, and what that consists of.
CONTAINER = Path("/sys/fs/cgroup")
# Files that were read, once or more often, and what the kernel keeps of names make room for whoever asks for it.
GIVEN_BACK = ("inactive_file", "active_file", "slab_reclaimable")


# What the kernel had counted whenever the count was reset.
_peaks: list[int] = []


def reset_peak_memory() -> int:
    """A moment that `peak_memory` can count from; where the kernel cannot, it counts from the process's start."""
    _peaks.append(peak_memory())
    with suppress(OSError):
        RESET.write_text("5")
    return len(_peaks)


def resident_memory() -> int:
    """Bytes of this process in memory now; 0 where the system does not say."""
    return _status("VmRSS") or 0


def peak_memory(since: int = sys.maxsize) -> int:
    """The most bytes this process had in memory since a moment of `reset_peak_memory`, by default the last one."""
    counted = _status("VmHWM")
    if counted is not None:
        return max(counted, *_peaks[since:], 0)
    import resource  # no part of Python on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def available_memory() -> int | None:
    """Bytes a process may still take, of the machine and of its container; None where the system does not say."""
    left = (_field(MACHINE, "MemAvailable"), _left_in_container())
    return min((each for each in left if each is not None), default=None)


def machine_memory() -> int | None:
    """Bytes the machine, or a smaller container, has in all, in use or not, and swaps; None where nobody says."""
    memory, swap = _field(MACHINE, "MemTotal"), _field(MACHINE, "SwapTotal") or 0
    limit, swap_limit = _limit("memory.max"), _limit("memory.swap.max")
    known = [each for each in (memory, limit) if each is not None]
    return min(known) + (swap if swap_limit is None else min(swap, swap_limit)) if known else None


def _left_in_container() -> int | None:
    limit, taken = _limit("memory.max"), _limit("memory.current")
    if limit is None or taken is None:
        return None
    try:
        parts = dict(line.split() for line in (CONTAINER / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        parts = {}
    return max(0, limit - taken + sum(int(parts.get(name, 0)) for name in GIVEN_BACK))


def _limit(name: str) -> int | None:
    """Bytes in a file of the container's; None without such a file, and without a limit: it says `max` then."""
    try:
        return int((CONTAINER / name).read_text())
    except (OSError, ValueError):
        return None


def _status(name: str) -> int | None:
    return _field(STATUS, name)


def _field(file: Path, name: str) -> int | None:
    """Bytes that stand behind a name in a file of the kernel's, in KiB there."""
    if not file.is_file():
        return None
    lines = (line for line in file.read_text().splitlines() if line.startswith(name))
    found = next(lines, None)  # not every system that has the file counts a peak
    return None if found is None else int(found.split()[1]) * 1024
