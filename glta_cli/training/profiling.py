"""Where a stage's time and memory go: `--profile` measures each stage that runs and writes what it saw.

    <root>/profiles/<run>/<stage>.json            seconds, processor seconds, peak memory, parts, operators
    <root>/profiles/<run>/<stage>-<part>.json.gz  Chrome traces, one of each part, for chrome://tracing or Perfetto

A part is what shows a progress bar, and a step is what moves it. A whole stage would fill gigabytes with events, so
of every part torch's profiler records a few steps behind the first one, which still warms up.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from glta_cli.core.bars import Bar
from glta_cli.core.files import write_json
from glta_cli.core.process_memory import peak_memory, reset_peak_memory, resident_memory
from glta_cli.core.progress import bars_made_by

if TYPE_CHECKING:
    from rich.console import RenderableType

SKIPPED_STEPS = 1
RECORDED_STEPS = 10
SHOWN_OPERATORS = 12


@dataclass(frozen=True)
class Operator:
    """A torch operator's own share of the recorded steps: seconds and bytes without the operators it called."""

    name: str
    calls: int
    seconds: float
    memory: int


@dataclass
class Part:
    """What one progress bar stood for; `operators` belong to `recorded_steps` of its steps."""

    name: str
    unit: str
    seconds: float = 0.0
    done: float = 0.0
    steps: int = 0
    recorded_steps: int = 0
    operators: list[Operator] = field(default_factory=list)
    trace: str | None = None


class StageProfile:
    """What is measured of one stage while it runs.

    Args:
        folder: of the run's profiles.

    Attributes:
        estimated: bytes the process was estimated to have at most, on a GPU those there; 0 where nothing says.
    """

    def __init__(self, stage: str, folder: Path) -> None:
        self.stage = stage
        self.folder = folder
        self.parts: dict[str, Part] = {}
        self.recorder: Any = None
        self.recorded_part: Part | None = None
        self.wall = self.cpu = self.writing = 0.0
        self.memory_before = self.memory_peak = self.device_peak = self.begun = 0
        self.nothing_ran = False
        self.estimated = 0

    def begin(self) -> None:
        """Start counting."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.begun = reset_peak_memory()
        self.memory_before = resident_memory()
        if device_in_use():
            import torch

            torch.cuda.reset_peak_memory_stats()
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def end(self) -> None:
        """Stop counting and write what was seen; the time that writing traces took is left out."""
        self.stop_recording()
        self.wall, self.cpu = time.perf_counter() - self.wall - self.writing, time.process_time() - self.cpu
        self.memory_peak = peak_memory(self.begun)
        if device_in_use():
            import torch

            self.device_peak = torch.cuda.max_memory_allocated()
        write_json(self.folder / f"{self.stage}.json", self.as_json())

    def as_json(self) -> dict[str, Any]:
        return {
            "stage": self.stage,
            "seconds": round(self.wall, 3),
            "processor_seconds": round(self.cpu, 3),
            "memory_before": self.memory_before,
            "memory_peak": self.memory_peak,
            "device_memory_peak": self.device_peak,
            "memory_estimated": self.estimated,
            "parts": [asdict(part) for part in self.parts.values()],
        }

    # ------------------------------------------------------------------------------------------ what bars tell

    def begin_part(self, name: str, unit: str) -> Part:
        return self.parts.setdefault(name, Part(name, unit))

    def step(self, part: Part, done: float, *, recorded: bool = True) -> None:
        """One step of a part ended; one that is not `recorded` has no operators of its own."""
        part.done += done
        part.steps += 1
        if self.recorded_part is part:
            part.recorded_steps += 1
            if part.recorded_steps == RECORDED_STEPS:
                self.stop_recording()
        elif recorded and self.recorded_part is None and part.trace is None and part.steps >= SKIPPED_STEPS:
            self.start_recording(part)

    def end_part(self, part: Part, begun: float) -> None:
        if self.recorded_part is part:
            self.stop_recording()
        part.seconds += time.perf_counter() - begun

    # ------------------------------------------------------------------------------------------ torch's profiler

    def start_recording(self, part: Part) -> None:
        # A part without torch has no operators to record, and shall not wait for its import.
        if "torch" not in sys.modules:
            return
        import torch
        from torch.profiler import ProfilerActivity, profile

        activities = [ProfilerActivity.CPU]
        if torch.cuda.is_available():
            activities.append(ProfilerActivity.CUDA)
        part.trace = f"{self.stage}-{re.sub('[^a-z0-9]+', '-', part.name.lower())}.json.gz"
        self.recorded_part = part
        self.recorder = profile(activities=activities, profile_memory=True)
        self.recorder.start()

    def stop_recording(self) -> None:
        part, self.recorded_part = self.recorded_part, None
        if part is None or part.trace is None:
            return
        began = time.perf_counter()
        self.recorder.stop()
        self.recorder.export_chrome_trace(str(self.folder / part.trace))
        if part.recorded_steps:
            part.operators = operators(self.recorder.key_averages())
        self.recorder = None
        taken = time.perf_counter() - began
        self.writing += taken
        part.seconds -= taken


class WatchedBar(Bar):
    """A progress bar that tells a profile what it shows."""

    def __init__(self, profile: StageProfile, *, around_others: bool = False, **settings: Any) -> None:
        self.profile = profile
        self.recorded = not around_others
        self.part = profile.begin_part(settings["desc"].strip(), settings["unit"].strip())
        self.begun: float | None = time.perf_counter()
        super().__init__(**settings)

    def update(self, n: float | None = 1) -> bool | None:
        if n:
            self.profile.step(self.part, n, recorded=self.recorded)
        return super().update(n)

    def close(self) -> None:
        super().close()
        if self.begun is not None:  # tqdm closes a bar more than once
            self.profile.end_part(self.part, self.begun)
            self.begun = None


class Foretold(Protocol):
    """What was said of the stages of a run before they ran."""

    def memory(self, stage: str) -> int:
        """Bytes the stage was estimated to have at most; 0 where nothing says."""
        ...


@contextmanager
def profiled(
    stage: str, folder: Path, show: Callable[[RenderableType], None], foretold: Foretold | None = None
) -> Iterator[StageProfile]:
    """Measure the stage inside, write its profile into `folder` and `show` it as tables, beside what was `foretold`.

    A stage that finds itself up to date sets `nothing_ran`; what was written when it ran is then left alone.
    """
    # Read when torch is imported; otherwise its profiler writes remarks of its own between ours.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    profile = StageProfile(stage, folder)
    # Before the count begins: what estimates import is none of the stage's.
    profile.estimated = 0 if foretold is None else foretold.memory(stage)
    profile.begin()
    try:
        with bars_made_by(partial(WatchedBar, profile)):
            yield profile
    finally:
        if not profile.nothing_ran:
            profile.end()
    if not profile.nothing_ran:
        show(profile_table(profile))


# --------------------------------------------------------------------------------------------------- figures


def operators(averages: Any) -> list[Operator]:
    """The operators by own time, the longest first; on a GPU its time counts, not the processor's."""
    on_device = any(event.self_device_time_total for event in averages)
    found = [
        Operator(
            event.key,
            event.count,
            (event.self_device_time_total if on_device else event.self_cpu_time_total) / 1e6,
            event.self_device_memory_usage if on_device else event.self_cpu_memory_usage,
        )
        for event in averages
    ]
    return sorted(found, key=lambda operator: operator.seconds, reverse=True)


def device_in_use() -> bool:
    """Whether this process has put anything on a GPU."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized()


def profile_table(profile: StageProfile) -> RenderableType:
    """Parts with their seconds and rates; below, the operators that took most of the recorded steps."""
    from rich import box
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table

    title = (
        f"profile of {profile.stage}: {profile.wall:.1f} s, {profile.cpu:.1f} processor s, "
        f"peak {_mebibytes(profile.memory_peak)}"
    )
    if profile.memory_before:
        title += f" ({_mebibytes(profile.memory_peak - profile.memory_before)} its own)"
    if profile.device_peak:
        title += f", {_mebibytes(profile.device_peak)} on the GPU"
    if profile.estimated:
        title += f"; estimated {_mebibytes(profile.estimated)}"
    parts = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False)
    parts.add_column("part", style="cyan")
    for name in ("seconds", "share", "done", "per second"):
        parts.add_column(name, justify="right")
    for part in profile.parts.values():
        rate = part.done / part.seconds if part.seconds else 0.0
        share = f"{part.seconds / profile.wall:.0%}"
        parts.add_row(escape(part.name), f"{part.seconds:.1f}", share, f"{part.done:,.0f} {part.unit}", f"{rate:,.1f}")

    tables: list[RenderableType] = [parts] if profile.parts else [title]
    for part in profile.parts.values():
        if not part.operators:
            continue
        total = sum(operator.seconds for operator in part.operators)
        title = (
            f"{escape(part.name)}: operators in {part.recorded_steps} steps, {total:.2f} s; {escape(str(part.trace))}"
        )
        shown = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False)
        shown.add_column("operator", style="cyan")
        for name in ("calls", "own ms", "share", "own memory"):
            shown.add_column(name, justify="right")
        for operator in part.operators[:SHOWN_OPERATORS]:
            milliseconds, share = f"{operator.seconds * 1e3:,.1f}", f"{operator.seconds / total:.0%}"
            shown.add_row(
                escape(operator.name), f"{operator.calls:,}", milliseconds, share, _mebibytes(operator.memory)
            )
        tables.append(shown)
    return Group(*tables, f"written: {escape(str(profile.folder))}")


def _mebibytes(count: int) -> str:
    return f"{round(count / 2**20):,} MiB"
