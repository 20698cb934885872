"""How long the stages of a run will take on this machine: counted, measured, and learnt from the stages run before."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import torch

from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.fused_terms import LANGUAGE, terms_of
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.selection import text_reader
from glta_cli.stages.lineage import SERVING
from glta_cli.stages.workloads import AGAIN, WORKLOADS, Counted, CountedData
from glta_cli.training.work import MatrixRate, Part, matrix_rate
from glta_cli.workspace.artefact import MANIFEST
from glta_cli.workspace.workspace import Workspace

# What becomes of the rate at which the machine multiplies matrices, as measured on two processors without a GPU: some
# goes to memory, to small products, and to Python; what is counted is rounded up, and trainings stop early. A stage
# that ran here before says better.
EFFICIENCIES: Final[Mapping[str, float]] = {
    "encode-items": 0.9,
    "pretrain-graph": 1.5,
    "fit-linear": 1.3,
    "align": 0.9,
    "describe-users": 0.6,
    "finetune": 1.1,
    "index": 1.1,
    "serving-index": 1.1,
}
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


@dataclass(frozen=True)
class Estimate:
    """How long a stage will take, and what that follows from.

    Attributes:
        seconds: about.
        rate: operations a second on the clock of what is counted.
        parts: what it computes, in order.
        learnt: whether the rate is that of an earlier run of the stage here.
    """

    seconds: float
    rate: float
    parts: tuple[Part, ...]
    learnt: bool


class Estimator:
    """Estimates of the stages of one run.

    Args:
        device: what computes.
    """

    def __init__(self, recipe: Recipe, prepared: CountedData, workspace: Workspace, device: torch.device) -> None:
        self.recipe = recipe
        self.prepared = prepared
        self.workspace = workspace
        self.device = device
        self._counted = Counted(recipe, prepared)
        self._parts: dict[str, tuple[Part, ...]] = {}

    @property
    def train(self) -> Interactions:
        """The training interactions, which are counted."""
        return self._counted.train

    def of(self, stage: str) -> Estimate | None:
        """About how long a stage takes; None where nothing says how much it computes.

        A training is counted with all its epochs: one that stops early takes less, and so did those before it.
        """
        parts = self.parts(stage)
        if not parts:
            return None
        operations = sum(part.total for part in parts)
        learnt = self._learnt(stage)
        efficiency = EFFICIENCIES[stage.removeprefix(AGAIN)] if learnt is None else learnt
        rate = efficiency * self.matrix_rate.operations * self._processors()
        return Estimate(AROUND + operations / rate, rate, parts, learnt is not None)

    def parts(self, stage: str) -> tuple[Part, ...]:
        """What a stage computes; nothing where that cannot be counted, as of an architecture that says too little."""
        if stage not in self._parts:
            count = WORKLOADS.get(stage.removeprefix(AGAIN))
            try:
                self._parts[stage] = () if count is None else tuple(count(self._counted))
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
        return {
            "operations": round(operations),
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

    def _processors(self) -> float:
        """Processors' worth of time a second brings a stage: less than products get, as not all of it is shared out."""
        threads = torch.get_num_threads() if self.device.type == "cpu" else 1
        shared_out = 1 / (ALONE + (1 - ALONE) / threads) / threads
        return self.matrix_rate.processors * shared_out

    def _kind(self, stage: str) -> dict[str, str]:
        """What has to be the same for one run of a stage to say how long another takes."""
        recipe = text_reader(self.recipe) if stage == "encode-items" else self.recipe
        name = self.recipe.graph.encoder if stage.endswith("pretrain-graph") else recipe.backbone.name
        if stage in ("index", SERVING) and LANGUAGE not in terms_of(self.recipe):
            name = NO_MODEL
        return {"device": self.device.type, "model": name}

    def _learnt(self, stage: str) -> float | None:
        """The efficiency of the newest earlier run of the stage that says enough; None where there is none.

        Of processors' time, not of the clock's: how busy the machine was then does not matter.
        """
        wanted = self._kind(stage)
        for manifest in self._earlier(stage):
            work = manifest.get("work")
            if not isinstance(work, dict) or {key: work.get(key) for key in wanted} != wanted or _in_part(manifest):
                continue
            if stage == SERVING and _read_nobody_out(manifest):
                continue
            seconds = manifest.get("processor_seconds" if self.device.type == "cpu" else "seconds")
            operations, rate = work.get("operations"), work.get("matrix_rate")
            if operations and rate and seconds and seconds > 2 * AROUND:
                return float(operations / (seconds - AROUND) / rate)
        return None

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
    """Whether an earlier go at the stage or other processes did part of what its operations count, not of its time."""
    details = manifest.get("details")
    elsewhere = isinstance(details, dict) and (details.get("done_before") or details.get("processes"))
    return bool(manifest["work"].get("resumed") or elsewhere)


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
