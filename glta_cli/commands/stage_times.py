"""How long the stages take that have yet to run, as `--dry-run` and the announcement of a run say it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from glta_cli.core.world import World, launched

if TYPE_CHECKING:
    from glta_cli.data.prepared import PreparedDataset
    from glta_cli.stages.estimates import Estimate
    from glta_cli.stages.pipeline import Pipeline
    from glta_cli.workspace.artefact import Artefact

UNKNOWN: Final = "unknown"
# Several processes that are no faster than one by this factor gain nothing worth their memory.
GAIN: Final = 1.1


@dataclass(frozen=True)
class StageTimes:
    """What is estimated of every stage that has yet to run.

    Attributes:
        estimates: by stage; None where nothing says how much it computes.
        processes: that run them.
        alone: seconds by one process, of those that are known.
    """

    estimates: Mapping[str, Estimate | None]
    processes: int
    alone: Mapping[str, float]

    @property
    def unknown(self) -> list[str]:
        """The stages of which nothing says how long they take."""
        return [name for name, each in self.estimates.items() if each is None]

    def seconds(self, stage: str) -> float | None:
        """None of a stage that is unknown, or need not run."""
        found = self.estimates.get(stage)
        return None if found is None else round(found.seconds, 1)

    def processor_seconds(self, stage: str) -> float | None:
        """Of one process, whatever else the machine does; None too where a GPU computes."""
        found = self.estimates.get(stage)
        return None if found is None or found.processor_seconds is None else round(found.processor_seconds, 1)

    def shown(self, stage: str) -> str:
        """As a table has it; nothing of a stage that need not run."""
        from glta_cli.core.durations import shown_duration

        if stage not in self.estimates:
            return ""
        found = self.estimates[stage]
        return UNKNOWN if found is None else shown_duration(found.seconds)

    def shown_total(self, stages: Sequence[str]) -> str:
        """Of these stages, as far as it is known."""
        from glta_cli.core.durations import shown_duration

        asked = {name: each for name, each in self.estimates.items() if name in stages}
        if not asked:
            return ""
        known = [each.seconds for each in asked.values() if each is not None]
        least = "" if len(known) == len(asked) else "at least "
        return least + shown_duration(sum(known)) if known else UNKNOWN

    def as_dict(self) -> dict[str, Any]:
        """Plain values for `--json`: seconds of all that is known, by these processes and by one."""
        return {
            "processes": self.processes,
            "seconds": round(sum(each.seconds for each in self.estimates.values() if each is not None), 1),
            "seconds_of_one_process": round(sum(self.alone.values()), 1),
            "unknown": self.unknown,
        }

    def lines(self, stages: Sequence[str]) -> list[str]:
        """What is to be said beside the figures of these stages."""
        from glta_cli.core.durations import shown_duration

        said = [f"how long {name} takes is unknown: nothing says how much it computes" for name in self.unknown]
        known = {name: each.seconds for name, each in self.estimates.items() if name in stages and each is not None}
        if self.processes > 1 and known:
            together, alone = sum(known.values()), sum(self.alone[name] for name in known)
            if alone >= GAIN * together:
                said.append(f"by one process about {shown_duration(alone)} in all")
            else:
                said.append(
                    f"{self.processes} processes are no faster here than one, about {shown_duration(alone)} in all;"
                )
                said.append("  a GPU for each would help, or machines of their own")
        return said


def stage_times(
    stages: Sequence[tuple[str, Artefact | None]],
    pipeline: Pipeline,
    prepared: PreparedDataset,
    processes: int | None = None,
) -> StageTimes:
    """About how long each of the stages without an artefact takes here.

    Args:
        processes: of this machine; None for those the command was started as.
    """
    from glta_cli.stages.schedule import estimator_of

    here = launched()
    world = here if processes in (None, here.size) else World(size=processes or 1, local_size=processes or 1)
    missing = [name for name, artefact in stages if artefact is None]
    estimator = estimator_of(pipeline, prepared, world)
    estimates = {name: estimator.of(name) for name in missing}
    by_one = estimator.by(World())
    alone = {name: found.seconds for name in missing if (found := by_one.of(name)) is not None}
    return StageTimes(estimates, world.size, alone)
