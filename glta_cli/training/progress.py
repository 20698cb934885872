"""Where a training stands, and what a person is told of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass
class TrainingProgress:
    """Where training stands, and what it saw on the way; all of it is saved with every state."""

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    best_epoch: int = 0
    best_metric: float = -math.inf
    validations_without_gain: int = 0
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)

    def counted(self, epochs: int) -> str:
        """The epoch in progress, or the last one where that is over, of how many."""
        return f"{self.epoch + (self.step_in_epoch > 0 or self.epoch == 0)}/{epochs} epochs"

    def figures(self, last_loss: float, metric: str) -> str:
        """The loss of the last step, where there was one, and the best validation so far."""
        shown = [] if math.isnan(last_loss) else [f"loss {last_loss:#.3g}".removesuffix(".")]
        if self.best_metric != -math.inf:
            shown.append(f"{metric} {short_figure(self.best_metric)}")
        return " ".join(shown)

    def outcome(self, epochs: int, metric: str, start: str) -> str | None:
        """What a bar cannot say of a training that is over: that it stopped early, that it was all for nothing.

        Args:
            start: what epoch 0 is called.
        """
        early = self.epoch < epochs
        if self.best_epoch == 0 and self.epoch:
            return f"{'stopped early: ' * early}{start} was best, training improved nothing"
        return f"stopped early: no better {metric} since epoch {self.best_epoch} of {epochs}" if early else None


def short_figure(value: float) -> str:
    """Four decimals, without the zero before them: .2034."""
    text = f"{value:.4f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text
