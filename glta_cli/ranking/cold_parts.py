"""The parts of what a split that hides items or users measures: what is hidden, what is not, and both.

Source of the three parts for items: ColdRec (github.com/YuanchenBei/ColdRec, model/BaseRecommender.py), which masks
warm items, cold ones or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glta_cli.data.prepared import Measuring, PreparedDataset
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.scorer import Scorer
from glta_cli.ranking.metrics import ranking_metrics
from glta_cli.ranking.top_k import BLOCK, rank_users

NDCG, RECALL = "ndcg@10", "recall@20"
CUTOFFS = (10, 20)
Values = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Part:
    """Some of the interactions to be found, and what they are found among.

    Attributes:
        name: such as `cold items`.
        about: which they are, in words.
        relevant: they alone, of all U users and I items.
        candidates: the items that are ranked, bool [I]; None ranks the whole catalogue.
    """

    name: str
    about: str
    relevant: Interactions
    candidates: NDArray[np.bool_] | None

    @property
    def users(self) -> NDArray[np.int64]:
        return np.flatnonzero(self.relevant.counts)


def parts_of(prepared: PreparedDataset, part: Measuring) -> list[Part]:
    """What is hidden for validation or test, what is not, and both; none where the split hides nothing."""
    if prepared.hides is None:
        return []
    relevant, hidden, cold = prepared.split(part), prepared.hidden(), prepared.hidden(part)
    if prepared.hides == "items":
        among = cold[relevant.items]
        parts = [
            Part("cold items", f"hidden items for {part}, ranked among themselves", relevant.where(among), cold),
            Part("warm items", "the others, among all that are not hidden", relevant.where(~among), ~hidden),
            Part("all items", "both, in the whole catalogue", relevant, None),
        ]
    else:
        among = cold[relevant.users]
        parts = [
            Part("cold users", "hidden users, by the rest of their history", relevant.where(among), None),
            Part("warm users", "users of the training", relevant.where(~among), None),
            Part("all users", "both", relevant, None),
        ]
    return [each for each in parts if len(each.relevant)]


def part_metrics(score: Scorer, part: Part, seen: Sequence[Interactions]) -> Values:
    """NDCG@10 and Recall@20 of each user of a part, [n] each."""
    users = part.users
    ranked = rank_users(_among(score, part.candidates), users, max(CUTOFFS), *seen, description=f"rank {part.name}")
    values = ranking_metrics(ranked, users, part.relevant, CUTOFFS)
    return {name: values[name] for name in (NDCG, RECALL)}


def tells_apart(score: Scorer, part: Part) -> bool:
    """Whether the candidates of a part have scores that differ, for any of its first users; one alone need not."""
    scores = score(part.users[:BLOCK])
    among = scores if part.candidates is None else scores[:, part.candidates]
    if among.shape[1] < 2:
        return True
    return bool((among.max(axis=1) > among.min(axis=1)).any())


def chance(part: Part, seen: Sequence[Interactions]) -> dict[str, float]:
    """What a random order of the candidates comes to, in expectation.

    A relevant item is as likely at each of the n places left to a user: E NDCG@k = |R|/n · Σ_{i≤min(k,n)} 1/log2(i+1)
    ÷ the same sum up to min(k, |R|), and E Recall@k = min(k, n)/n.
    """
    users = part.users
    candidates = np.ones(part.relevant.item_count, dtype=bool) if part.candidates is None else part.candidates
    left = np.full(len(users), candidates.sum())
    for interactions in seen:
        ours = candidates[interactions.items]
        left = left - np.bincount(interactions.users[ours], minlength=interactions.user_count)[users]
    relevant = part.relevant.counts[users]
    gains = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(1, CUTOFFS[0] + 1) + 1))])
    ndcg = relevant / left * gains[np.minimum(left, CUTOFFS[0])] / gains[np.minimum(relevant, CUTOFFS[0])]
    return {NDCG: float(ndcg.mean()), RECALL: float((np.minimum(left, CUTOFFS[1]) / left).mean())}


def _among(score: Scorer, candidates: NDArray[np.bool_] | None) -> Scorer:
    """Scores in which items that are no candidates rank last."""
    if candidates is None:
        return score
    others = ~candidates

    def masked(users: NDArray[np.int64]) -> NDArray[np.float32]:
        scores = score(users)
        scores[:, others] = -np.inf
        return scores

    return masked
