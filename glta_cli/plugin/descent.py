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

    Example:
        import numpy as np
        import torch

        from glta_cli.plugin import DescentPlan, product_scorer

        class TwoTables:
            def __init__(self, train, size):
                torch.manual_seed(0)
                self.train = train
                self.module = torch.nn.ModuleDict(
                    {
                        "users": torch.nn.Embedding(train.user_count, size),
                        "items": torch.nn.Embedding(train.item_count, size),
                    }
                )

            def batches(self, epoch):  # places of interactions, a thousand a step
                order = np.random.default_rng(epoch).permutation(len(self.train))
                return [order[start : start + 1000] for start in range(0, len(order), 1000)]

            def loss(self, batch):
                users = self.module["users"](torch.from_numpy(self.train.users[batch]))  # [B, d]
                items = self.module["items"](torch.from_numpy(self.train.items[batch]))  # [B, d]
                return torch.nn.functional.cross_entropy(users @ items.T, torch.arange(len(batch)))

            def scorer(self):
                return product_scorer(*(self.module[of].weight.detach().numpy() for of in ("users", "items")))

        class Factors:
            uses_seed = False

            def __init__(self, settings):
                self.settings = settings

            def fit(self, data):
                task = TwoTables(data.train, 16)
                data.descend(task, DescentPlan(epochs=20, learning_rate=0.01))
                return {name: each.weight.detach().numpy() for name, each in task.module.items()}

            def scorer(self, learnt, train):
                return product_scorer(learnt["users"], learnt["items"])
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
