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
    """Bytes the machine has in all, in use or not, and swaps to disk; None where the system does not say."""
    memory, swap = _field(MACHINE, "MemTotal"), _field(MACHINE, "SwapTotal")
    return None if memory is None else memory + (swap or 0)


def _left_in_container() -> int | None:
    try:
        limit, taken = (int((CONTAINER / name).read_text()) for name in ("memory.max", "memory.current"))
        parts = dict(line.split() for line in (CONTAINER / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # without a limit it says `max`
        return None
    # Files that were read some time ago make room for whoever asks for it.
    return max(0, limit - taken + int(parts.get("inactive_file", 0)))


def _status(name: str) -> int | None:
    return _field(STATUS, name)


def _field(file: Path, name: str) -> int | None:
    """Bytes that stand behind a name in a file of the kernel's, in KiB there."""
    if not file.is_file():
        return None
    lines = (line for line in file.read_text().splitlines() if line.startswith(name))
    found = next(lines, None)  # not every system that has the file counts a peak
    return None if found is None else int(found.split()[1]) * 1024
