"""Loggers: what they are told of every stage that ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pydantic import BaseModel


@dataclass(frozen=True)
class StageEnd:
    """A stage, or an evaluation, that has just ended. What was up to date already did not run and is not told.

    `glta prepare` belongs to no run: it tells the loggers of its recipe, as the run that has the recipe's name.
    A run of another name finds the dataset up to date, and its loggers are not told of it.

    Attributes:
        run: name of the run.
        stage: as `glta runs --json` calls it, or `evaluate`.
        seconds: it took.
        metrics: every number it reported, by dotted name: `full.best_metric`, `models.glta.ndcg@10`; NaN and
            infinities are possible.
        history: for each training, by dotted name, one record an epoch: `epoch`, `loss`, validation metrics; the
            name is "" where the stage has one training only, and epoch 0 is the validation before it.
        recipe: every setting of the run, as the values of its YAML.
        artefact: the folder it published; None for an evaluation.
    """

    run: str
    stage: str
    seconds: float
    metrics: Mapping[str, float]
    history: Mapping[str, Sequence[Mapping[str, float]]]
    recipe: Mapping[str, Any]
    artefact: Path | None


class StageLogger(Protocol):
    """Told of every stage of a run that ends.

    What it raises in `stage_ended` becomes a warning, and the run goes on. What it is told is a copy of its own.

    Example:
        from glta_cli.plugin import Settings

        class DiarySettings(Settings):
            file: str = "diary.txt"

        class Diary:
            def __init__(self, settings, folder):
                self.path = folder / settings.file

            def stage_ended(self, end):
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(f"{end.stage} of {end.run} took {end.seconds:.0f} s\\n")
    """

    def __init__(self, settings: BaseModel, folder: Path) -> None:
        """`folder` is the run's own for logs, `logs/RUN` in the data folder; it exists."""
        ...

    def stage_ended(self, end: StageEnd) -> None:
        """Record it."""
        ...
