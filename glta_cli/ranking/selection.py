"""What everything that is chosen is chosen by: how well it ranks validation items."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.scorer import Scorer
from glta_cli.ranking.metrics import ranking_metrics
from glta_cli.ranking.top_k import rank_users

SELECTION_METRIC = "ndcg@10"


def validation_quality(train: Interactions, validation: Interactions) -> Callable[[Scorer], float] | None:
    """NDCG@10 of a scorer on validation items, training items masked: the mean over who has one; None if nobody has.

    What it is given knows training histories alone.
    """
    users = np.flatnonzero(validation.counts)
    if not len(users):
        return None

    def quality(score: Scorer) -> float:
        ranked = rank_users(score, users, 10, train, description="rank validation users")
        return float(ranking_metrics(ranked, users, validation, [10])[SELECTION_METRIC].mean())

    return quality
