"""What a run is about to do and how long it will take, told beforehand and stage by stage."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from rich.markup import escape

from glta_cli.core.bars import bars_watched_by
from glta_cli.core.durations import shown_duration
from glta_cli.core.terminal import say
from glta_cli.core.threads import compute_with_free_processors
from glta_cli.core.world import World, launched
from glta_cli.data.prepared import PreparedDataset
from glta_cli.recipe.schema import Recipe
from glta_cli.stages.estimates import SMALL, Estimate, Estimator, who_runs
from glta_cli.stages.memory_moments import Sizes
from glta_cli.stages.pace import Pace
from glta_cli.training.devices import pick_device
from glta_cli.training.states import threads_of
from glta_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from glta_cli.stages.stage import Stage

# Shorter work needs no announcement.
WORTH_TELLING: Final = 120.0
_COLUMNS: Final = 78


class Schedule:
    """The stages on the way to one that was asked for.

    Args:
        stages: all of them by name, in order, those that are up to date among them.
        missing: those that have to run.
    """

    def __init__(self, stages: Sequence[str], missing: Sequence[str], estimator: Estimator) -> None:
        self._stages = list(stages)
        self._estimator = estimator
        operations = sum(part.total for name in missing for part in estimator.parts(name))
        # What is small on any machine is not worth measuring this one.
        known = {name: estimator.of(name) for name in missing} if operations >= SMALL else {}
        self.estimates: Mapping[str, Estimate] = {name: each for name, each in known.items() if each is not None}

    @property
    def seconds(self) -> float:
        """About how long all that is missing takes, as far as it is known."""
        return sum(each.seconds for each in self.estimates.values())

    def announce(self) -> None:
        """Say how long each stage will take, where together they take minutes."""
        if self.seconds < WORTH_TELLING:
            return
        each = ", ".join(f"{name} {shown_duration(one.seconds)}" for name, one in self.estimates.items())
        text = f"about {shown_duration(self.seconds)} in all, less where a training stops early: {each}"
        for line in textwrap.wrap(text, _COLUMNS, break_on_hyphens=False, subsequent_indent="  "):
            say(line)

    def about(self, stage: str) -> list[str]:
        """What the line of a stage says of it: its place among all, and how long it will take."""
        place = []
        if stage in self._stages:
            place.append(f"stage {self._stages.index(stage) + 1} of {len(self._stages)}")
        if stage in self.estimates:
            place.append(f"about {shown_duration(self.estimates[stage].seconds)}")
        return place

    def record(self, stage: str, *, resumed: bool) -> dict[str, Any]:
        """What the manifest of a stage says for later estimates."""
        return self._estimator.record(stage, resumed=resumed)

    def tell_of_room(self, stage: str) -> None:
        """Warn where a stage that is about to run will not fit the memory there is.

        Raises:
            GltaError: it cannot, whatever else is given up.
        """
        # Counting memory takes the libraries of models, for which a first look at a log should not wait.
        from glta_cli.stages.memory_room import tell_of_room

        known = self._estimator
        tell_of_room(stage, known.recipe, known.prepared, known.device, who_runs(stage, launched()), known.train)

    def memory(self, stage: str) -> int:
        """Bytes a stage is estimated to have at most where it computes; 0 where nothing says."""
        from glta_cli.stages.memory_estimates import DEVICE, HOST, memory_of

        known, count = self._estimator, who_runs(stage, launched()).size
        found = memory_of(stage, Sizes(known.recipe, known.prepared, known.device, processes=count, train=known.train))
        return 0 if found is None else found.total(DEVICE if DEVICE in found.places else HOST)

    def watched(self, stage: str) -> AbstractContextManager[object]:
        """Has it said while a stage runs where it takes longer than was told, or less."""
        estimate = self.estimates.get(stage)
        return nullcontext() if estimate is None else bars_watched_by(Pace(stage, estimate).look)


class ScheduledRun(Protocol):
    """What of a pipeline a schedule is made from.

    Attributes:
        device: a torch device by name; None picks one.
        named_after: names of the sibling of a run that it is; none of the run itself.
        announced: whether it was said how long its stages take.
    """

    recipe: Recipe
    workspace: Workspace
    device: str | None
    named_after: tuple[str, ...]
    announced: bool

    def prepared(self) -> PreparedDataset: ...


def estimator_of(pipeline: ScheduledRun, prepared: PreparedDataset, world: World) -> Estimator:
    """What says how long stages take a run with these data, with the threads that are free now.

    Raises:
        GltaError: the machine has no such device.
    """
    compute_with_free_processors()
    return Estimator(pipeline.recipe, prepared, pipeline.workspace, pick_device(pipeline.device), world)


def scheduled(pipeline: ScheduledRun, wanted: Sequence[Stage], missing: Sequence[Stage]) -> Schedule | None:
    """The schedule of stages about to run, announced unless the run was announced before; None where all is there."""
    if not missing:
        return None
    # The lines of a sibling stand between those of the run it is compared with, whose stages are counted.
    stages = [] if pipeline.named_after else ["prepare", *(each.name for each in wanted)]
    estimator = estimator_of(pipeline, pipeline.prepared(), launched())
    schedule = Schedule(stages, [each.name for each in missing], estimator)
    if not pipeline.announced:
        schedule.announce()
    pipeline.announced = True
    return schedule


@contextmanager
def stage_begun(
    stage: str, schedule: Schedule | None, named_after: Sequence[str], states: Path
) -> Iterator[dict[str, Any]]:
    """Say that a stage begins, have it compute with as many threads as are free, and mend its estimate as it runs.

    Args:
        schedule: None where none was made.
        named_after: what tells a sibling's lines from those of the run.
        states: where an earlier go at it saved its training, which is continued with the threads it was begun with.

    Returns:
        What its manifest is to say for later estimates.
    """
    about = [*named_after, *(schedule.about(stage) if schedule else [])]
    say(f"[cyan]▸[/] {stage}" + (escape(f" ({', '.join(about)})") if about else ""))
    if schedule is not None:
        schedule.tell_of_room(stage)
    compute_with_free_processors(threads_of(states))
    resumed = any(path.is_file() for path in states.rglob("*"))
    with schedule.watched(stage) if schedule else nullcontext():
        yield schedule.record(stage, resumed=resumed) if schedule else {}
