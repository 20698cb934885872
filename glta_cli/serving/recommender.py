"""Recommendations for one user, from a published index."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from glta_cli.errors import InputError, did_you_mean
from glta_cli.evaluation.ranking import rank_users
from glta_cli.serving.index import Index
from glta_cli.workspace import Artefact

RECENT_ITEMS = 10


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
    position = _user_position(artefact, user)
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


def _user_position(artefact: Artefact, user: str) -> int:
    ids = pl.read_parquet(artefact.file("users.parquet"))["user"]
    found = (ids == user).arg_max() if len(ids) else None
    if found is not None and ids[found] == user:
        return int(found)
    examples = ", ".join(ids.head(3))
    hint = did_you_mean(user, ids.to_list()) or f"users are named as in the data, such as {examples}"
    raise InputError(
        f"no user is called '{user}'; there are {len(ids):,} users",
        location="--user",
        hint=f"{hint} (all of them: {artefact.path / 'users.parquet'})",
    )
