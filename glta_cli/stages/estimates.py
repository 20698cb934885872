"""How long the stages of a run will take on this machine: counted, measured, and learnt from the stages run before."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import torch

from glta_cli.core.threads import permitted_threads, threads_asked_for
from glta_cli.core.world import World, launched
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.fused_terms import LANGUAGE, terms_of
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.selection import text_reader
from glta_cli.stages.lineage import SERVING
from glta_cli.stages.memory_moments import Sizes
from glta_cli.stages.stage_costs import cost_of
from glta_cli.stages.workloads import CountedData
from glta_cli.training.work import MatrixRate, Part, matrix_rate
from glta_cli.workspace.artefact import MANIFEST
from glta_cli.workspace.workspace import Workspace

# The part of a stage that one thread does alone, however many there are.
ALONE: Final = 0.15
# Seconds of importing, of loading weights, and of writing what is published.
AROUND: Final = 2.0
# With less to compute, in operations, it is a matter of seconds on whatever machine: nothing is measured.
SMALL: Final = 2e10
# What is told twice within this time is told alike.
FRESH_SECONDS: Final = 30.0
_measured: dict[tuple[torch.device, int], tuple[float, MatrixRate]] = {}
# Of an index without a language model.
NO_MODEL: Final = "none read"
# Of the stages run before, the newest.
MOST_READ: Final = 30
# A command of one process.
ONE: Final = World()


@dataclass(frozen=True)
class Estimate:
    """How long a stage will take, and what that follows from.

    Attributes:
        seconds: about.
        rate: operations a second on the clock of what is counted, of each process.
        parts: what it computes, in order.
        learnt: whether the rate is that of an earlier run of the stage here.
        processor_seconds: of each process, whatever else the machine does; None where a GPU computes.
    """

    seconds: float
    rate: float
    parts: tuple[Part, ...]
    learnt: bool
    processor_seconds: float | None = None


class Estimator:
    """Estimates of the stages of one run.

    Args:
        device: what computes.
        world: the processes that share what several can, on equal machines.
    """

    def __init__(
        self, recipe: Recipe, prepared: CountedData, workspace: Workspace, device: torch.device, world: World = ONE
    ) -> None:
        self.recipe = recipe
        self.prepared = prepared
        self.workspace = workspace
        self.device = device
        self.world = world
        self._sizes = Sizes(recipe, prepared, device)
        self._parts: dict[str, tuple[Part, ...]] = {}

    def by(self, world: World) -> Estimator:
        """The same by other processes."""
        other = Estimator(self.recipe, self.prepared, self.workspace, self.device, world)
        # Nothing is counted twice, nor the machine measured at another moment.
        other._sizes, other._parts, other.matrix_rate = self._sizes, self._parts, self.matrix_rate
        return other

    @property
    def train(self) -> Interactions:
        """The training interactions, which are counted."""
        return self._sizes.train

    def of(self, stage: str) -> Estimate | None:
        """About how long a stage takes; None where nothing says how much it computes.

        A training is counted with all its epochs: one that stops early takes less, and so did those before it.
        """
        parts, cost = self.parts(stage), cost_of(stage)
        if not parts or cost is None:
            return None
        who = who_runs(stage, self.world)
        operations = sum(part.of_one(who.size) for part in parts)
        learnt = self._learnt(stage, who.size)
        efficiency = cost.efficiency if learnt is None else learnt
        worked, processors = operations / (efficiency * self.matrix_rate.operations), self._processors(who)
        return Estimate(
            AROUND + worked / processors,
            efficiency * self.matrix_rate.operations * processors,
            parts,
            learnt is not None,
            AROUND + worked if self.device.type == "cpu" else None,
        )

    def parts(self, stage: str) -> tuple[Part, ...]:
        """What a stage computes; nothing where that cannot be counted, as of an architecture that says too little."""
        if stage not in self._parts:
            cost = cost_of(stage)
            try:
                self._parts[stage] = () if cost is None else tuple(cost.work(self._sizes))
            except Exception:
                # A plugin's own configuration may lack what is counted by. No stage is to fail for an estimate; what
                # is wrong with it, loading it will say.
                self._parts[stage] = ()
        return self._parts[stage]

    def record(self, stage: str, *, resumed: bool = False) -> dict[str, Any]:
        """What the manifest says for later estimates: how much was computed, by what, and how fast the machine was.

        Args:
            resumed: whether an earlier go at the stage did part of it, whose time is not in this one's.
        """
        parts = self.parts(stage)
        if not parts:
            return {}
        operations = sum(part.total for part in parts)
        rate = round(self.matrix_rate.operations) if operations >= SMALL else None
        who = who_runs(stage, self.world)
        own = {"operations_of_one": round(sum(part.of_one(who.size) for part in parts))} if who.size > 1 else {}
        return {
            "operations": round(operations),
            **own,
            "matrix_rate": rate,
            **self._kind(stage),
            **({"resumed": True} if resumed else {}),
        }

    @cached_property
    def matrix_rate(self) -> MatrixRate:
        known = _measured.get((self.device, torch.get_num_threads()))
        if known is None or time.monotonic() - known[0] > FRESH_SECONDS:
            known = time.monotonic(), matrix_rate(self.device)
            _measured[self.device, torch.get_num_threads()] = known
        return known[1]

    def _processors(self, who: World) -> float:
        """Processors' worth of time a second brings each process: less than products get, as not all is shared out."""
        if self.device.type != "cpu":
            return self.matrix_rate.processors
        measured = torch.get_num_threads()
        threads = threads_of_each(who, measured)
        # A thread of several processes gets what one of this process gets now, as long as there are processors for all.
        room = min(1.0, permitted_threads()[0] / (who.local_size * threads)) if who.size > 1 else 1.0
        shared_out = 1 / (ALONE + (1 - ALONE) / threads) / threads
        return self.matrix_rate.processors / measured * threads * room * shared_out

    def _kind(self, stage: str) -> dict[str, str]:
        """What has to be the same for one run of a stage to say how long another takes."""
        recipe = text_reader(self.recipe) if stage == "encode-items" else self.recipe
        name = self.recipe.graph.encoder if stage.endswith("pretrain-graph") else recipe.backbone.name
        if stage in ("index", SERVING) and LANGUAGE not in terms_of(self.recipe):
            name = NO_MODEL
        return {"device": self.device.type, "model": name}

    def _learnt(self, stage: str, processes: int) -> float | None:
        """The efficiency of the newest earlier run of the stage that says enough; None where there is none.

        Of processors' time, not of the clock's: how busy the machine was then does not matter. Of a run by as many
        processes where there is one, else of one by a single process.
        """
        wanted = self._kind(stage)
        alone = None
        for manifest in self._earlier(stage):
            work = manifest.get("work")
            if not isinstance(work, dict) or {key: work.get(key) for key in wanted} != wanted or _in_part(manifest):
                continue
            if stage == SERVING and _read_nobody_out(manifest):
                continue
            seconds = manifest.get("processor_seconds" if self.device.type == "cpu" else "seconds")
            rate, count = work.get("matrix_rate"), _processes(manifest)
            # What a process of several did itself stands there since estimates count it.
            operations = work.get("operations" if count == 1 else "operations_of_one")
            if operations and rate and seconds and seconds > 2 * AROUND:
                efficiency = float(operations / (seconds - AROUND) / rate)
                if count == processes:
                    return efficiency
                if count == 1 and alone is None:
                    alone = efficiency
        return alone

    def _earlier(self, stage: str) -> Iterator[dict[str, Any]]:
        paths = (self.workspace.root / "stages" / stage).glob(f"*/{MANIFEST}")
        for path in sorted(paths, key=_written, reverse=True)[:MOST_READ]:
            try:
                content = json.loads(path.read_bytes())
            except (OSError, ValueError):
                continue
            if isinstance(content, dict):
                yield content


def _in_part(manifest: Mapping[str, Any]) -> bool:
    """Whether an earlier go at the stage did part of what its operations count, not of its time."""
    details = manifest.get("details")
    return bool(manifest["work"].get("resumed") or (isinstance(details, dict) and details.get("done_before")))


def _processes(manifest: Mapping[str, Any]) -> int:
    """How many shared the work of a stage."""
    details = manifest.get("details")
    count = details.get("processes") if isinstance(details, dict) else None
    return count if isinstance(count, int) else 1


def threads_of_each(who: World, here: int) -> int:
    """Threads that each of the processes of a command computes with.

    Args:
        here: those of this process.
    """
    if who.size == 1 or launched().size > 1 or threads_asked_for(os.environ) is not None:
        return here
    return max(1, permitted_threads()[0] // who.local_size)


def who_runs(stage: str, world: World) -> World:
    """Of the processes of a command those that run a stage: who waits takes none of its memory, and of its work."""
    if world.size == 1:
        return ONE  # nor need one that looks at a log for the first time wait for the stages' libraries
    from glta_cli.stages.order import runs_in_all_processes  # the stages, which announce themselves by estimates

    return world if runs_in_all_processes(stage) else ONE


def _read_nobody_out(manifest: Mapping[str, Any]) -> bool:
    """Whether the language model whose work is counted turned out to take no part in what is served."""
    details = manifest.get("details")
    served = details.get("served_terms") if isinstance(details, dict) else None
    return isinstance(served, list) and LANGUAGE not in served


def _written(path: Path) -> int:
    """When a file was written, in nanoseconds; 0 where another process has removed it meanwhile."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
