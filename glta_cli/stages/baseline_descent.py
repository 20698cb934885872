"""Baselines that learn by gradient descent: what they describe is trained by the one loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import ValidationError
from rich.markup import escape
from torch import Tensor, nn

from glta_cli.core.errors import GltaError
from glta_cli.core.terminal import say
from glta_cli.data.prepared import PreparedDataset
from glta_cli.plugin.descent import DescentPlan, DescentTask
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.scorer import Scorer
from glta_cli.ranking.selection import SELECTION_METRIC, quality_while_fitted, validation_quality
from glta_cli.recipe.schema import TrainingSettings

Quality = Callable[[Scorer], float]

# Who is ranked after each epoch; a whole ranking of a million users would last longer than the epoch.
MOST_VALIDATED: Final = 10_000


class Descent:
    """What a baseline has its tasks trained by, one after the other.

    Attributes:
        seconds: the trainings took, those before an interruption among them.
    """

    def __init__(self, name: str, quality: Quality | None, state_folder: Path) -> None:
        """Of the baseline of that name.

        Args:
            quality: what an epoch is chosen by; None where there is nothing to choose by.
            state_folder: where states are saved, those of each task in a folder of its own.
        """
        self.name, self.quality, self.state_folder = name, quality, state_folder
        self.seconds = 0.0
        self._tasks = 0

    @property
    def told(self) -> dict[str, float]:
        """What a manifest says of the trainings; nothing where there was none."""
        return {"training_seconds": round(self.seconds, 3)} if self._tasks else {}

    def __call__(self, task: DescentTask, plan: DescentPlan) -> int:
        # The loop takes long to import, and most rows are solved without one.
        from glta_cli.training.loop import train

        judged = self.quality if plan.selected else None
        if plan.selected and judged is None:
            say(f"  {escape(self.name)}: no validation to choose the epoch by, so all {plan.epochs:,} are taken")
        self._tasks += 1
        progress = train(
            _JudgedTask(task, judged),
            _settings_of(plan, self.name),
            state_folder=self.state_folder / f"descent-{self._tasks}",
            description=f"fit {self.name}",
            fixed_epochs=plan.epochs if judged is None else None,
        )
        self.seconds += progress.seconds
        return progress.best_epoch


def epoch_quality(prepared: PreparedDataset, seed: int) -> Quality | None:
    """What the epochs of a fit are chosen by: as `quality_while_fitted`, by 10,000 users where there are more."""
    if prepared.hides is not None:
        return quality_while_fitted(prepared)
    return validation_quality(prepared.split("train"), _of_some_users(prepared.split("valid"), seed))


def _of_some_users(validation: Interactions, seed: int) -> Interactions:
    users = np.flatnonzero(validation.counts)
    if len(users) <= MOST_VALIDATED:
        return validation
    drawn = np.random.default_rng((seed, 0, 1)).permutation(users)[:MOST_VALIDATED]
    chosen = np.zeros(validation.user_count, dtype=bool)
    chosen[drawn] = True
    return validation.where(chosen[validation.users])


def _settings_of(plan: DescentPlan, name: str) -> TrainingSettings:
    try:
        return TrainingSettings(
            # The loop takes those of `fixed_epochs`, of which there may be none.
            epochs=max(1, plan.epochs),
            learning_rate=plan.learning_rate,
            patience=plan.patience,
            clip_norm=plan.clip_norm,
        )
    except ValidationError as error:
        problem = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise GltaError(f"the baseline '{name}' cannot be trained as it says: {problem}") from error


class _JudgedTask:
    """A baseline's task as the loop takes it, with validation by full ranking."""

    metric = SELECTION_METRIC

    def __init__(self, task: DescentTask, quality: Quality | None) -> None:
        self.task = task
        self.quality = quality

    @property
    def module(self) -> nn.Module:
        return self.task.module

    def batches(self, epoch: int) -> Sequence[Any]:
        return self.task.batches(epoch)

    def loss(self, batch: Any) -> Tensor:
        return self.task.loss(batch)

    def validate(self) -> dict[str, float]:
        assert self.quality is not None, "without it no epoch is selected"
        return {SELECTION_METRIC: self.quality(self.task.scorer())}
