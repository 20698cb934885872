"""How much memory each stage of a run will take at most, by part and by place."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from glta_cli.core.process_memory import resident_memory
from glta_cli.stages.memory_moments import FILE, Moment, Parts, Sizes
from glta_cli.stages.stage_costs import cost_of

# A process with the libraries of all stages, where the system does not say what this one has.
PROCESS_BYTES: Final = 500 << 20
# Bytes that a training loads beside torch, where nothing did before: optimizers import the first, graphs the second.
LOADED_BY_TRAINING: Final = {"torch._dynamo": 69 << 20, "scipy.sparse": 13 << 20}
# What the allocator of a CPU holds beside what is in use: freed tensors of sizes nothing else wants. It is less where
# what was freed before is counted itself.
HEAP: Final = 1.3
HEAP_BESIDE_FREED: Final = 1.08
# Parts that come and go within a step, which that is about.
PASSING: Final = ("activations", "keys and values")
HOST, DEVICE = "host", "device"


@dataclass(frozen=True)
class MemoryEstimate:
    """What one process has in memory at most while a stage runs.

    Attributes:
        device: the type of what computes: cpu, cuda.
        places: bytes by part, of the `host`'s memory and, where another than the CPU computes, of the `device`'s.
    """

    stage: str
    device: str
    places: Mapping[str, Parts]

    def total(self, place: str) -> int:
        return sum(self.places[place].values())

    def own(self, place: str) -> int:
        """What the stage adds to a process that runs already."""
        return self.total(place) - self.places[place].get("process", 0)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for `--json`; bytes as integers."""
        places = {
            place: {"total": self.total(place), "parts": dict(parts)} for place, parts in self.places.items() if parts
        }
        return {"device": self.device, "places": places}


def memory_of(stage: str, sizes: Sizes, *, files: bool = True) -> MemoryEstimate | None:
    """The most a stage has; None where nothing says what that is, as of an architecture that says too little.

    Args:
        files: whether those that weights are read from count, which take no memory that something else needs.
    """
    cost = cost_of(stage)
    if cost is None:
        return None
    try:
        found = [each for each in cost.moments(sizes) if files or FILE not in each.beside]
    except Exception:
        # As with times: no stage is to fail for an estimate; what is wrong, loading the model will say.
        return None
    return _most(stage, sizes.device.type, found) if found else None


def process_bytes() -> int:
    """What this process will have in memory, whatever a stage is about, once the libraries of a training are loaded."""
    resident = resident_memory()
    missing = (size for name, size in LOADED_BY_TRAINING.items() if name not in sys.modules)
    return resident + sum(missing) if resident else PROCESS_BYTES


def _most(stage: str, kind: str, moments: list[Moment]) -> MemoryEstimate:
    process = {"process": process_bytes()}
    if kind == "cpu":
        together = (_added(process, each.beside, _on_heap(each)) for each in moments)
        return MemoryEstimate(stage, kind, {HOST: max(together, key=_sum)})
    beside = max((_added(process, each.beside) for each in moments), key=_sum)
    return MemoryEstimate(stage, kind, {HOST: beside, DEVICE: max((each.computing for each in moments), key=_sum)})


def _on_heap(found: Moment) -> Parts:
    factor, freed = (HEAP_BESIDE_FREED, {"activations": found.freed}) if found.freed else (HEAP, {})
    parts = _added(found.computing, freed)
    return {name: round(size * factor) if name in PASSING else size for name, size in parts.items()}


def _added(*several: Parts) -> Parts:
    """Parts of one name added up."""
    names = dict.fromkeys(name for parts in several for name in parts)
    return {name: sum(parts.get(name, 0) for parts in several) for name in names}


def _sum(parts: Parts) -> int:
    return sum(parts.values())
