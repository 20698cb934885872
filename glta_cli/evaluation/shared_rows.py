"""Rows of an evaluation measured by all processes of the command: each makes the row again and ranks its users.

What a row learnt is published by then, so that another process only reads it. Where it cannot make the row, as of one
that was fitted for this evaluation alone, the first process ranks everyone.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from glta_cli.core.errors import GltaError
from glta_cli.core.process_memory import available_memory
from glta_cli.core.world import team, working_alone
from glta_cli.evaluation.fitted_rows import FittedRow
from glta_cli.recipe.schema import Recipe
from glta_cli.stages.pipeline import Pipeline
from glta_cli.stages.together import company
from glta_cli.workspace.artefact import Artefact
from glta_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from glta_cli.plugin.scorer import Scorer

Found = TypeVar("Found")
Make = Callable[[Pipeline], list[FittedRow]]


class ReadOnlyWorkspace(Workspace):
    """A workspace as a process sees it that only reads what the first one published."""

    def published_or_made(self, stage: str, name: str, make: Callable[[], Artefact]) -> tuple[Artefact, bool]:
        found = self.published(stage, name)
        return (found, True) if found is not None else self._refuse(stage)

    def publish(self, stage: str, *given: Any, **named: Any) -> NoReturn:
        self._refuse(stage)

    def _refuse(self, stage: str) -> NoReturn:
        raise GltaError(f"{stage} is not published", location=str(self.root))


@dataclass(frozen=True)
class ReadRun:
    """What another process needs to read a run: as it is where the rows are made."""

    name: str
    recipe: Recipe
    root: Path
    device: str
    artefacts: Mapping[str, Path]
    as_published: bool

    @classmethod
    def of(cls, pipeline: Pipeline) -> ReadRun:
        artefacts = {stage: artefact.path for stage, artefact in pipeline.reached()}
        device = pipeline.context().device.type
        return cls(pipeline.name, pipeline.recipe, pipeline.workspace.root, device, artefacts, pipeline.as_published)

    def pipeline(self) -> Pipeline:
        artefacts = {stage: Artefact(path) for stage, path in self.artefacts.items()}
        recipe = self.recipe.model_copy(update={"loggers": {}})
        found = Pipeline(self.name, recipe, ReadOnlyWorkspace(self.root), device=self.device)
        found.take(artefacts)
        found.as_published = self.as_published
        return found


@dataclass(frozen=True)
class RowsOrder:
    """To rank for an evaluation.

    Attributes:
        make: pickled: makes the rows.
        measuring: pickled: makes what measures scores, of a run; who do it together rank a part of the users each.
        places: of the rows to measure.
    """

    make: bytes
    measuring: bytes
    run: ReadRun
    places: Sequence[int]
    threads: int

    @property
    def device(self) -> str:
        return self.run.device

    def carry_out(self) -> None:
        with working_alone():  # as the first process made its own
            ready = self.made()
        if all(team().gathered_objects(ready is not None)) and ready is not None:
            measured, scorers = ready
            for score in scorers:
                measured(score)

    def made(self) -> tuple[Callable[[Scorer], Any], list[Scorer]] | None:
        """What measures, and the scores to measure; None where they cannot be made here."""
        try:
            pipeline = self.run.pipeline()
            rows = pickle.loads(self.make)(pipeline)
            return pickle.loads(self.measuring)(pipeline), [rows[place].score for place in self.places]
        except Exception:
            return None


def measured_rows(
    make: Make,
    rows: Sequence[FittedRow],
    places: Sequence[int],
    measured: Callable[[Scorer], Found],
    measuring: Callable[[Pipeline], Callable[[Scorer], Found]],
    pipeline: Pipeline,
) -> list[Found]:
    """What is measured of the rows at these places, which `make` made of a pipeline.

    Args:
        measured: measures scores; ranks users by `rank_users`.
        measuring: makes the same of another process's pipeline.
    """

    def by_this_process() -> list[Found]:
        return [measured(rows[place].score) for place in places]

    with_us = company()
    order = None if with_us is None or not places else _order(make, places, measuring, pipeline)
    if with_us is None or order is None or not _fits([rows[place] for place in places], with_us.size):
        return by_this_process()
    with with_us.ordered(order):
        if all(team().gathered_objects(True)):
            return by_this_process()
        with working_alone():
            return by_this_process()


def _order(make: Make, places: Sequence[int], measuring: Callable[..., Any], pipeline: Pipeline) -> RowsOrder | None:
    """None where a plugin's row cannot be sent to another process."""
    import torch

    try:
        sent = pickle.dumps(make), pickle.dumps(measuring)
    except Exception:
        return None
    return RowsOrder(*sent, ReadRun.of(pipeline), places, torch.get_num_threads())


def _fits(rows: Sequence[FittedRow], size: int) -> bool:
    """Whether what the rows learnt fits into memory once more for each of the other processes."""
    files = {path for row in rows for path in row.artefact.path.rglob("*") if path.is_file()}
    available = available_memory()
    return available is None or sum(path.stat().st_size for path in files) * (size - 1) < available
