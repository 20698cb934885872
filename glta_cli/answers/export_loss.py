"""What an export that is not exact costs on test items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from glta_cli.answers.exported_vectors import COMPARED, KnownFactors, exported_vectors
from glta_cli.data.prepared import PreparedDataset
from glta_cli.plugin.scorer import Scorer, product_scorer
from glta_cli.ranking.metrics import ranking_metrics
from glta_cli.ranking.top_k import rank_users
from glta_cli.serving.index import Index
from glta_cli.serving.served_row import ServedRow


@dataclass(frozen=True)
class LossOnTest:
    """NDCG@10 of test items, means over users: of the row itself, and of the inner products exported in its place."""

    exact: float
    exported: float
    users: int


def loss_on_test(
    index: Index,
    row: ServedRow,
    terms: Sequence[str],
    rank: int | None,
    prepared: PreparedDataset,
    known: KnownFactors,
) -> LossOnTest | None:
    """Both figures, ranked as `glta evaluate` ranks; None where nobody has a test item.

    Args:
        index: the one that is measured, whose histories hold no test item.
        terms, rank, known: as of `exported_vectors`.
    """
    test = prepared.split("test")
    users = np.flatnonzero(test.counts)
    if not len(users):
        return None
    found = exported_vectors(index, row, terms, rank, known)
    seen = prepared.masked_at_test()

    def ndcg(score: Scorer) -> float:
        ranked = rank_users(score, users, COMPARED, *seen, description="rank test users")
        return float(ranking_metrics(ranked, users, test, [COMPARED])[f"ndcg@{COMPARED}"].mean())

    return LossOnTest(ndcg(index.scorer(*seen, row=row)), ndcg(product_scorer(found.users, found.items)), len(users))
