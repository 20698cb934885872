"""What `--dry-run` says of each stage's memory and time: a table, or plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.table import Table

    from glta_cli.commands.stage_times import StageTimes
    from glta_cli.data.prepared import PreparedDataset
    from glta_cli.stages.memory_estimates import MemoryEstimate
    from glta_cli.stages.pipeline import Pipeline

# Of the parts of an estimate, those that are named; the others are small beside them.
MOST_NAMED: Final = 3
MEBIBYTE: Final = 1 << 20
GIBIBYTE: Final = 1 << 30


def memory_estimates(
    stages: Sequence[str], pipeline: Pipeline, prepared: PreparedDataset, processes: int
) -> list[MemoryEstimate]:
    """What each of the stages takes at most in one of so many processes, those that are up to date among them.

    A stage that the first process runs alone is divided among none, however many there are.
    """
    from glta_cli.core.world import World
    from glta_cli.stages.estimates import who_runs
    from glta_cli.stages.memory_estimates import memory_of
    from glta_cli.stages.memory_moments import Sizes
    from glta_cli.training.devices import pick_device

    device, world = pick_device(pipeline.device), World(size=processes, local_size=processes)
    sizes = {count: Sizes(pipeline.recipe, prepared, device, processes=count) for count in {processes, 1}}
    found = (memory_of(stage, sizes[who_runs(stage, world).size]) for stage in stages)
    return [each for each in found if each is not None]


def without_estimate(stages: Sequence[str], estimates: Sequence[MemoryEstimate]) -> list[str]:
    """Of the stages that are counted elsewhere those that were not here, as a model's architecture says too little."""
    from glta_cli.stages.stage_costs import cost_of

    known = {each.stage for each in estimates}
    return [stage for stage in stages if stage not in known and cost_of(stage) is not None]


def memory_values(
    stages: Sequence[str], estimates: Sequence[MemoryEstimate], times: StageTimes | None, processes: int
) -> dict[str, Any]:
    """Plain values for `--json`; bytes as integers, of one of the processes."""
    from glta_cli.core.process_memory import available_memory

    found = {each.stage: each.as_dict() | time_values(each.stage, times) for each in estimates}
    unknown = without_estimate(stages, estimates)
    return {"available": available_memory(), "processes": processes, "stages": found, "unknown": unknown}


def time_values(stage: str, times: StageTimes | None) -> dict[str, float | None]:
    """Plain values of a stage's time for `--json`; None where it need not run, or nothing says."""
    if times is None:
        return {"estimated_seconds": None, "estimated_processor_seconds": None}
    return {
        "estimated_seconds": times.seconds(stage),
        "estimated_processor_seconds": times.processor_seconds(stage),
    }


def memory_table(
    run: str, stages: Sequence[str], estimates: Sequence[MemoryEstimate], times: StageTimes | None, processes: int
) -> Table:
    """A stage a row, two where another than the CPU computes: where, how much at most, what that is made of."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from glta_cli.core.process_memory import available_memory
    from glta_cli.stages.memory_estimates import HOST

    left = available_memory()
    free = "" if left is None else f"; {shown_bytes(left)} are free here"
    whose = "of one process" if processes == 1 else f"of each of {processes} processes"
    table = Table(
        title=escape(f"memory of run {run}"),
        caption=f"at most, {whose}{free}; process: Python and its libraries",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("stage", style="cyan", no_wrap=True)
    table.add_column("where", no_wrap=True)
    table.add_column("memory", justify="right", no_wrap=True)
    table.add_column("of which (MiB)")
    if times is not None and times.estimates:
        table.add_column("about", justify="right", no_wrap=True)
    for each in estimates:
        for place in reversed(list(each.places)):
            name, where = (each.stage, each.device) if place != HOST or len(each.places) == 1 else ("", "beside")
            row = [name, where, shown_bytes(each.total(place)), shown_parts(each.places[place])]
            if times is not None and times.estimates:
                row.append(times.shown(each.stage) if name else "")
            table.add_row(*row)
    for stage in without_estimate(stages, estimates):
        table.add_row(stage, "", "unknown", "the architecture says too little to count by")
    return table


def shown_bytes(size: int) -> str:
    """Such as 3.21 GiB, or 87 MiB of what is less than a tenth of one."""
    return f"{size / GIBIBYTE:.2f} GiB" if size >= GIBIBYTE / 10 else f"{size / MEBIBYTE:.0f} MiB"


def shown_parts(parts: Mapping[str, int]) -> str:
    """The largest parts with their mebibytes, the largest first."""
    largest = sorted(parts.items(), key=lambda part: -part[1])[:MOST_NAMED]
    return ", ".join(f"{name} {round(size / MEBIBYTE):,}" for name, size in largest if size >= MEBIBYTE / 2)
