"""Sample recommendations: what a few users met, what the model offers them, and which of it they took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from glta_cli.data.prepared import PreparedDataset
from glta_cli.plugin.scorer import Scorer
from glta_cli.ranking.top_k import rank_users

USERS = 6
RECOMMENDED = 10
LATEST = 8


@dataclass(frozen=True)
class SampleUser:
    """One user of the test split.

    Attributes:
        user: the original id.
        history: titles of the latest items before the test ones, the latest first.
        history_length: of all of them.
        recommended: titles, the best first, and whether each is a test item.
        test_items: how many there are to be found.
    """

    user: str
    history: Sequence[str]
    history_length: int
    recommended: Sequence[tuple[str, bool]]
    test_items: int


def sample_users(prepared: PreparedDataset, score: Scorer, seed: int) -> list[SampleUser]:
    """Users drawn at random among those with a test item, ranked as `evaluate` ranks them."""
    test = prepared.split("test")
    history = prepared.history()  # of all splits, in order of time where times are known
    tested = np.flatnonzero(test.counts)
    drawn = np.sort(np.random.default_rng(seed).choice(tested, min(USERS, len(tested)), replace=False))
    ranked = rank_users(score, drawn, RECOMMENDED, *prepared.masked_at_test())
    samples = []
    for user, offered in zip(drawn, ranked, strict=True):
        wanted = set(test.of(user).tolist())
        met = [int(item) for item in history.of(user) if int(item) not in wanted]
        samples.append(
            SampleUser(
                user=prepared.user_ids[user],
                history=[prepared.titles[item] for item in met[::-1][:LATEST]],
                history_length=len(met),
                recommended=[(prepared.titles[item], int(item) in wanted) for item in offered if item not in met],
                test_items=len(wanted),
            )
        )
    return samples
