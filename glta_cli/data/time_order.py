"""Whether times order what people did, or only the ids of what they met."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

# Fewer pairs of neighbours may all ascend by chance, or because a shop is young.
FEWEST_PAIRS = 1000


def order_warnings(interactions: pl.DataFrame, item_ids: list[str]) -> list[str]:
    """What is odd about the order in time that a split in time rests on.

    Some copies of a dataset keep each user's items sorted by id and have made their times up from that.

    Args:
        interactions: `user` and `item` by index; user after user, each user's in order of time.
        item_ids: original ids, by index.
    """
    users, items = interactions["user"].to_numpy(), interactions["item"].to_numpy()
    same = users[1:] == users[:-1]
    for places in _orders(item_ids):
        steps = np.diff(places[items])[same]
        if len(steps) >= FEWEST_PAIRS and (bool((steps > 0).all()) or bool((steps < 0).all())):
            return [
                "by their times every user's items stand in the order of their ids: such times say little of what came "
                "first, and a split in time tests them; --set dataset.split.strategy=ratio does not look at times"
            ]
    return []


def _orders(item_ids: list[str]) -> list[NDArray[np.int64]]:
    """The place of each item among all, by the text of its id and, where ids are numbers, by their values."""
    texts = np.asarray(item_ids, dtype=object)
    orders = [_places(texts)]
    if all(each.isascii() and each.isdigit() for each in item_ids):
        orders.append(_places(np.array([int(each) for each in item_ids], dtype=object)))
    return orders


def _places(keys: NDArray[np.object_]) -> NDArray[np.int64]:
    places = np.empty(len(keys), dtype=np.int64)
    places[np.argsort(keys, kind="stable")] = np.arange(len(keys))
    return places
