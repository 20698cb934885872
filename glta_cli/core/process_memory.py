"""Memory of this process, as the kernel counts it."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")


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


def _status(name: str) -> int | None:
    if not STATUS.is_file():
        return None
    lines = (line for line in STATUS.read_text().splitlines() if line.startswith(name))
    found = next(lines, None)  # not every system that has the file counts a peak
    return None if found is None else int(found.split()[1]) * 1024
