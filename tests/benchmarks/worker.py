"""One side of one step in a process of its own: `python worker.py MODULE NUMBER SIDE SIZE RESULT`.

Prepares, says so, then calls the work once for every line it reads and answers each with a line of JSON. The first
result goes to RESULT, an npz file. It needs NumPy and nothing of ours, so a peer's interpreter can run it.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np

PEAK, RESIDENT = "VmHWM", "VmRSS"


def main() -> None:
    module, number, side, size, result = sys.argv[1:]
    answers = own_standard_output()
    sys.path.insert(0, str(Path(__file__).parent))
    step = importlib.import_module(f"steps.{module}").STEPS[int(number)]
    work = getattr(step, side)(int(size))
    answer(answers, {"ready": True})
    for count, _ in enumerate(sys.stdin):
        reset_peak()
        before = memory(RESIDENT)
        wall, cpu = time.perf_counter(), processor_seconds()
        content = work()
        wall, cpu = time.perf_counter() - wall, processor_seconds() - cpu
        extra = memory(PEAK) - before
        if count == 0:
            save(Path(result), content)
        del content
        answer(answers, {"wall": wall, "cpu": cpu, "memory": extra})


def own_standard_output() -> TextIO:
    """The pipe to the runner; whatever a library prints goes to standard error from here on."""
    pipe = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(pipe, "w")


def answer(pipe: TextIO, content: Mapping[str, Any]) -> None:
    pipe.write(json.dumps(content) + "\n")
    pipe.flush()


def save(path: Path, content: Mapping[str, Any]) -> None:
    np.savez(path, **{name: np.asarray(value) for name, value in content.items()})


def processor_seconds() -> float:
    """User and system time of this process, all its threads, and its ended children."""
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in parts)


def reset_peak() -> None:
    """Let the kernel count the peak of resident memory from now on."""
    Path("/proc/self/clear_refs").write_text("5")


def memory(kind: str) -> int:
    """Resident memory of this process in bytes, its peak or now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(kind):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {kind}")


if __name__ == "__main__":
    main()
