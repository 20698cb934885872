"""Two sides of a step, called in turn, each in a process of its own."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from step import Measure, Step

FOLDER = Path(__file__).parent
Side = Literal["ours", "peer"]


@dataclass(frozen=True)
class Located:
    """A step and where a worker finds it: its module below `steps/` and its place in `STEPS`."""

    module: str
    number: int
    step: Step


@dataclass(frozen=True)
class Cost:
    """Wall seconds, processor seconds and extra peak memory in bytes; of several calls the median."""

    wall: float
    cpu: float
    memory: float

    def of(self, measure: Measure) -> float:
        return float(getattr(self, measure))


@dataclass
class Outcome:
    """What a step showed.

    Attributes:
        equal: whether both sides agree; None where they were not compared.
        problem: why there is no comparison: the results differ, or a side failed.
        growth: our cost by size.
    """

    module: str
    name: str
    peer_name: str
    targets: Mapping[Measure, float]
    limits: Mapping[Measure, float]
    runs: int
    note: str
    ours: Cost | None = None
    peer: Cost | None = None
    equal: bool | None = None
    problem: str | None = None
    growth: dict[int, Cost] = field(default_factory=dict)

    def ratio(self, measure: Measure) -> float | None:
        if self.ours is None or self.peer is None:
            return None
        return self.peer.of(measure) / max(self.ours.of(measure), 1e-12)

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"ratios": {measure: self.ratio(measure) for measure in self.targets}}


class WorkerError(Exception):
    """A side ended before it answered."""


class Worker:
    """A running worker process."""

    def __init__(self, interpreter: Path, located: Located, side: Side, size: int, result: Path) -> None:
        arguments = [located.module, str(located.number), side, str(size), str(result)]
        self.log = result.with_suffix(".log")
        self.process = subprocess.Popen(
            [interpreter, FOLDER / "worker.py", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log.open("w"),
            text=True,
            env=os.environ,
        )
        self._answer()

    def call(self) -> Cost:
        """Do the work once."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return Cost(**self._answer())

    def end(self) -> None:
        self.process.kill()
        self.process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            last = self.log.read_text().strip().splitlines()
            raise WorkerError(last[-1] if last else f"it ended with status {self.process.returncode}")
        content: dict[str, Any] = json.loads(line)
        return content


def run_step(located: Located, peers: Path | None, *, runs: int | None, growth: bool) -> Outcome:
    """Check that both sides agree, time them in turn, then time ours at the larger sizes."""
    step = located.step
    outcome = Outcome(
        located.module, step.name, step.peer_name, step.targets, step.limits, runs or step.runs, step.note
    )
    interpreter = Path(sys.executable) if step.peer_interpreter == "ours" else peers
    if interpreter is None:
        outcome.problem = "the peers are not installed"
        return outcome
    try:
        compare(located, interpreter, outcome)
        if growth and outcome.ours is not None:
            outcome.growth = {1: outcome.ours} | {size: cost_at(located, size) for size in step.sizes if size > 1}
    except WorkerError as error:
        outcome.problem = str(error)
    return outcome


def compare(located: Located, peer_interpreter: Path, outcome: Outcome) -> None:
    """Fill the outcome's costs; memory is that of the first call, when nothing is left over from one before."""
    with worker(Path(sys.executable), located, "ours", 1) as ours, worker(peer_interpreter, located, "peer", 1) as peer:
        first = {"ours": ours[0].call(), "peer": peer[0].call()}
        outcome.problem = difference(located.step, ours[1], peer[1])
        outcome.equal = outcome.problem is None
        if not outcome.equal:
            return
        costs: dict[str, list[Cost]] = {"ours": [], "peer": []}
        for _ in range(outcome.runs):
            costs["ours"].append(ours[0].call())
            costs["peer"].append(peer[0].call())
    outcome.ours = median(costs["ours"], first["ours"])
    outcome.peer = median(costs["peer"], first["peer"])


def cost_at(located: Located, size: int) -> Cost:
    """What our side costs at another size: the time of the second call, the memory of the first."""
    with worker(Path(sys.executable), located, "ours", size) as (ours, _):
        first = ours.call()
        return median([ours.call()], first)


def difference(step: Step, ours: Path, peer: Path) -> str | None:
    """Why the two results are not the same; None where they are."""
    with np.load(ours) as our_result, np.load(peer) as peer_result:
        try:
            step.check(dict(our_result), dict(peer_result))
        except (AssertionError, KeyError, ValueError) as error:
            text = " ".join(str(error).split())
            return f"the results differ: {text[:200]}" if text else "the results differ"
    return None


def median(costs: list[Cost], first: Cost) -> Cost:
    wall, cpu = (statistics.median(cost.of(measure) for cost in costs) for measure in ("wall", "cpu"))
    return Cost(wall, cpu, first.memory)


@contextmanager
def worker(interpreter: Path, located: Located, side: Side, size: int) -> Iterator[tuple[Worker, Path]]:
    """A worker and the file of its result; both are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="glta-bench-") as folder:
        result = Path(folder) / "result.npz"
        running = Worker(interpreter, located, side, size, result)
        try:
            yield running, result
        finally:
            running.end()
