"""Recommendations for one user, from a published index."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from glta_cli.errors import InputError
from glta_cli.evaluation.ranking import rank_users
from glta_cli.serving.index import Index
from glta_cli.workspace import Artefact

RECENT_ITEMS = 10
NEAREST_IDS = 3


def recommend(artefact: Artefact, user: str, k: int) -> dict[str, Any]:
    """The k best items a user has not interacted with, with original ids and titles.

    Returns:
        `{"user", "history": [{"item", "title"}], "recommendations": [{"rank", "item", "title", "score"}]}`;
        the history's latest item first, at most ten.

    Raises:
        InputError: the user is unknown, or k is less than 1.
    """
    if k < 1:
        raise InputError(f"{k} is no number of items", location="-k", hint="ask for at least one")
    index = Index(artefact)
    position = user_position(artefact, user)
    users = np.array([position])
    items = pl.read_parquet(artefact.file("items.parquet"), columns=["item", "title"])
    scorer = index.scorer(index.history)
    available = index.history.item_count - int(index.history.counts[position])
    ranked = rank_users(scorer, users, min(k, available), index.history)[0] if available else np.empty(0, int)
    scores = scorer(users)[0]
    recent = index.history.of(position)[::-1][:RECENT_ITEMS]
    return {
        "user": user,
        "history": items[recent.tolist()].to_dicts(),
        "recommendations": [
            {"rank": rank, **items.row(int(item), named=True), "score": round(float(scores[item]), 4)}
            for rank, item in enumerate(ranked, start=1)
        ],
    }


def nearest_ids(wanted: str, ids: Sequence[str]) -> list[str]:
    """Ids beside the wanted one: by number where ids are numbers, else in alphabetical order."""
    if wanted.isdecimal() and all(known.isdecimal() for known in ids):
        number = int(wanted)
        return sorted(ids, key=lambda known: (abs(int(known) - number), int(known)))[:NEAREST_IDS]
    ordered = sorted(ids)
    start = max(0, min(bisect_left(ordered, wanted) - 1, len(ordered) - NEAREST_IDS))
    return ordered[start : start + NEAREST_IDS]


def user_position(artefact: Artefact, user: str) -> int:
    """The index of an original user id in a published index or prepared dataset.

    Raises:
        InputError: there is no such user; says how many there are and which ids are near.
    """
    path = artefact.file("users.parquet")
    ids = pl.read_parquet(path)["user"].to_list()
    if user in ids:
        return ids.index(user)
    raise InputError(
        f"no user is called '{user}'; there are {len(ids):,} users",
        location="--user",
        hint=f"the nearest ids are {', '.join(nearest_ids(user, ids))}; all of them are in {path}",
    )
