"""How each stage is counted, in the order they run: what it computes, how fast, and what it has in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from glta_cli.stages import graph_memory, language_memory, workloads
from glta_cli.stages.memory_moments import Moment, Sizes
from glta_cli.training.work import Part

# What stands before the name of a stage that is run again on everything known, and costs as much.
AGAIN: Final = "refit-"


@dataclass(frozen=True)
class StageCost:
    """What a stage is counted by.

    Attributes:
        work: what it computes.
        efficiency: what becomes of the rate at which the machine multiplies matrices, as measured on two processors
            without a GPU: some goes to memory, to small products, and to Python; what is counted is rounded up, and
            trainings stop early. A stage that ran here before says better.
        moments: what it has in memory together, wherever that may be the most.
    """

    work: Callable[[Sizes], list[Part]]
    efficiency: float
    moments: Callable[[Sizes], Iterator[Moment]]


COSTS: Final[Mapping[str, StageCost]] = {
    "encode-items": StageCost(workloads.encoded_items, 0.9, language_memory.encoded_items),
    "pretrain-graph": StageCost(workloads.pretrained_graph, 1.5, graph_memory.pretrained_graph),
    "fit-linear": StageCost(workloads.fitted_linear, 1.3, graph_memory.fitted_linear),
    "align": StageCost(workloads.aligned, 0.9, language_memory.aligned),
    "describe-users": StageCost(workloads.described_users, 0.6, language_memory.described_users),
    "finetune": StageCost(workloads.finetuned, 1.1, language_memory.finetuned),
    "index": StageCost(workloads.indexed, 1.1, language_memory.indexed),
    "serving-index": StageCost(workloads.served, 1.1, language_memory.served),
}


def cost_of(stage: str) -> StageCost | None:
    """How a stage is counted, run for the first time or again; None where nothing says."""
    return COSTS.get(stage.removeprefix(AGAIN))
