"""Stage 3's training examples: which of a user's items are shown, and which are asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.errors import GltaError
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.schema import FinetuneSettings


@dataclass(frozen=True)
class Example:
    """A user's training example: context items shown, target items to predict; no item is in both.

    Attributes:
        weights: along the targets, float32: what each counts for; None where all count the same.
        fold: the one whose items are the targets, which tells whose graph never saw them; 0 without folds.
    """

    user: int
    context: NDArray[np.int64]
    targets: NDArray[np.int64]
    weights: NDArray[np.float32] | None = None
    fold: int = 0


class Examples:
    """Splits each user's training items into context and targets.

    Where a holdout is given, its items are the targets, every epoch the same, and the graph never saw them.
    Where folds are given, a user's targets are one fold's in an epoch and the next one's in the next: each item is a
    target once in as many epochs as the user's items have folds. Without either, a random `target_share` of each user's
    items is, drawn anew every epoch, or as many of the latest.

    Args:
        holdout: bool [n], along `train.items`.
        folds: int8 [n], along `train.items`, the fold of each interaction or -1 for none; in place of a holdout.
    """

    def __init__(
        self,
        train: Interactions,
        holdout: NDArray[np.bool_] | None,
        settings: FinetuneSettings,
        seed: int,
        folds: NDArray[np.int8] | None = None,
    ) -> None:
        self.train = train
        self.holdout = holdout if folds is None else folds >= 0
        self.settings = settings
        self.seed = seed
        self.folds = folds
        least = 2 if self.holdout is None else 1
        counts = (
            train.counts if self.holdout is None else np.bincount(train.users[self.holdout], minlength=train.user_count)
        )
        self.users = np.flatnonzero(counts >= least)  # [n], the users there is something to predict for
        if not len(self.users):
            raise GltaError("no user has items enough to hide one", hint="lower dataset.kcore or add interactions")

    def of_epoch(self, epoch: int) -> list[Example]:
        """One example for each user, in random order."""
        generator = np.random.default_rng((self.seed, epoch))
        return [self._of(int(user), epoch, generator) for user in generator.permutation(self.users)]

    def _of(self, user: int, epoch: int, generator: np.random.Generator) -> Example:
        items = self.train.of(user)
        hidden, fold = self._hidden(user, epoch, generator)
        targets = generator.permutation(np.flatnonzero(hidden))
        weights = self.train.relative_weights
        own = None if weights is None else weights[self.train.indptr[user] + targets]
        return Example(user, items[~hidden], items[targets], own, fold)

    def _hidden(self, user: int, epoch: int, generator: np.random.Generator) -> tuple[NDArray[np.bool_], int]:
        """Which of a user's items are its targets, bool along them, and the fold they are of."""
        own = slice(self.train.indptr[user], self.train.indptr[user + 1])
        if self.folds is not None:
            numbers = np.unique(self.folds[own][self.folds[own] >= 0])
            # In an epoch users stand at different folds, so that it sees all graphs.
            fold = int(numbers[(epoch + user) % len(numbers)])
            return self.folds[own] == fold, fold
        if self.holdout is not None:
            return self.holdout[own], 0
        size = int(self.train.counts[user])
        hidden = np.zeros(size, dtype=bool)
        count = min(max(1, round(self.settings.target_share * size)), size - 1)
        if self.settings.targets == "latest":
            hidden[-count:] = True
        else:
            hidden[generator.choice(size, count, replace=False)] = True
        return hidden, 0
