"""What everything that is chosen is chosen by: how well it ranks validation items."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from glta_cli.data.prepared import PreparedDataset
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.scorer import Scorer
from glta_cli.ranking.cold_parts import NDCG, part_metrics, parts_of
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


def quality_of(prepared: PreparedDataset) -> Callable[[Scorer], float] | None:
    """What scores by the histories at validation are chosen by; None if nobody has a validation item.

    `validation_quality` or, where the split hides items or users, the mean of NDCG@10 of what is hidden for validation
    and of what is not. Both count alike, whatever their numbers: a row that cannot tell hidden items apart is chosen by
    the others alone.
    """
    if prepared.hides is None:
        return validation_quality(prepared.split("train"), prepared.split("valid"))
    halves, known = parts_of(prepared, "valid")[:2], prepared.histories_at_validation()
    if not halves:
        return None
    return lambda score: float(np.mean([part_metrics(score, half, [known])[NDCG].mean() for half in halves]))


def quality_while_fitted(prepared: PreparedDataset) -> Callable[[Scorer], float] | None:
    """What a fit may choose its own settings by, which knows training histories alone; None as of `quality_of`.

    Of users who are hidden it knows none.
    """
    if prepared.hides == "users":
        return validation_quality(prepared.split("train"), prepared.validation_of_known())
    return quality_of(prepared)
