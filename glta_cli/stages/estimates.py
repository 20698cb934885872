"""How long the stages of a run will take on this machine: counted, measured, and learnt from the stages run before."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import torch

from glta_cli.data.prepared import PreparedDataset
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.selection import text_reader
from glta_cli.stages.workloads import AGAIN, WORKLOADS, Counted
from glta_cli.training.work import Part, matrix_rate
from glta_cli.workspace.artefact import MANIFEST
from glta_cli.workspace.workspace import Workspace

# What becomes of the rate at which the machine multiplies matrices, as measured on two processors without a GPU: the
# rest goes to memory, to small products, and to Python. A stage that ran here before says better.
EFFICIENCIES: Final[Mapping[str, float]] = {
    "encode-items": 0.7,
    "pretrain-graph": 0.8,
    "align": 0.7,
    "describe-users": 0.6,
    "finetune": 0.8,
    "index": 0.8,
    "serving-index": 0.8,
}
# Seconds of importing, of loading weights, and of writing what is published.
AROUND: Final = 2.0
# With less to compute, in operations, it is a matter of seconds on whatever machine: nothing is measured.
SMALL: Final = 2e10
# Of the stages run before, the newest.
MOST_READ: Final = 30


@dataclass(frozen=True)
class Estimate:
    """How long a stage will take, and what that follows from.

    Attributes:
        seconds: about.
        rate: operations a second of what is counted.
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

    def __init__(self, recipe: Recipe, prepared: PreparedDataset, workspace: Workspace, device: torch.device) -> None:
        self.recipe = recipe
        self.workspace = workspace
        self.device = device
        self._counted = Counted(recipe, prepared)
        self._parts: dict[str, tuple[Part, ...]] = {}

    def of(self, stage: str) -> Estimate | None:
        """About how long a stage takes; None where nothing says how much it computes.

        A training is counted with all its epochs: one that stops early takes less, and so did those before it.
        """
        parts = self.parts(stage)
        if not parts:
            return None
        operations = sum(part.total for part in parts)
        learnt = self._learnt(stage)
        rate = self.matrix_rate * (EFFICIENCIES[stage.removeprefix(AGAIN)] if learnt is None else learnt)
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

    def record(self, stage: str) -> dict[str, Any]:
        """What the manifest says for later estimates: how much was computed, by what, and how fast the machine was."""
        parts = self.parts(stage)
        if not parts:
            return {}
        operations = sum(part.total for part in parts)
        rate = self.matrix_rate if operations >= SMALL else None
        return {"operations": round(operations), "matrix_rate": rate and round(rate), **self._kind(stage)}

    @cached_property
    def matrix_rate(self) -> float:
        return matrix_rate(self.device)

    def _kind(self, stage: str) -> dict[str, str]:
        """What has to be the same for one run of a stage to say how long another takes."""
        recipe = text_reader(self.recipe) if stage == "encode-items" else self.recipe
        name = self.recipe.graph.encoder if stage.endswith("pretrain-graph") else recipe.backbone.name
        return {"device": self.device.type, "model": name}

    def _learnt(self, stage: str) -> float | None:
        """The efficiency of the newest earlier run of the stage that says enough; None where there is none."""
        wanted = self._kind(stage)
        for manifest in self._earlier(stage):
            work = manifest.get("work")
            if not isinstance(work, dict) or {key: work.get(key) for key in wanted} != wanted:
                continue
            operations, rate, seconds = work.get("operations"), work.get("matrix_rate"), manifest.get("seconds")
            if operations and rate and seconds and seconds > 2 * AROUND:
                return float(operations / (seconds - AROUND) / rate)
        return None

    def _earlier(self, stage: str) -> Iterator[dict[str, Any]]:
        paths = (self.workspace.root / "stages" / stage).glob(f"*/{MANIFEST}")
        for path in sorted(paths, key=lambda path: -path.stat().st_mtime_ns)[:MOST_READ]:
            try:
                content = json.loads(path.read_bytes())
            except (OSError, ValueError):
                continue
            if isinstance(content, dict):
                yield content
