"""Gradient descent for a baseline: it says what is to be learnt, the one training loop of glta learns it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn

    from glta_cli.plugin.scorer import Scorer


class DescentTask(Protocol):
    """What a baseline wants learnt.

    Attributes:
        module: its parameters that require a gradient are trained; in the end they are those of the epoch that is kept.
    """

    @property
    def module(self) -> nn.Module: ...

    def batches(self, epoch: int) -> Sequence[Any]:
        """The epoch's batches, in order; a function of the epoch alone, so that a resumed fit sees the same."""
        ...

    def loss(self, batch: Any) -> Tensor:
        """The scalar loss of one batch."""
        ...

    def scorer(self) -> Scorer:
        """Scores by training histories, with the parameters as they are now."""
        ...


@dataclass(frozen=True)
class DescentPlan:
    """How it is learnt: by Adam, at a rate that stays.

    Attributes:
        epochs: passes over the batches, at most; exactly so many where none is selected.
        learning_rate: of Adam.
        selected: whether validation chooses the epoch that is kept. Where there is nothing to choose by, none is, and a
            line says so.
        patience: epochs without a better validation after which it ends.
        clip_norm: largest norm of the gradient; None for any.
    """

    epochs: int
    learning_rate: float
    selected: bool = True
    patience: int = 3
    clip_norm: float | None = None


Descend = Callable[[DescentTask, DescentPlan], int]
"""Trains the module of a task, and returns the epoch it has the parameters of, 0 for those it came with.

With a bar, states that are saved and gone on with after a stop, and validation by full ranking: by those of 10,000
users who have something to find, where there are more.
"""
