"""Whether times order what people did, or only the ids of what they met."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from glta_cli.data.clean_table import CleanTable
from glta_cli.data.user_blocks import ranges_of_users

# Fewer pairs of neighbours may all ascend by chance, or because a shop is young.
FEWEST_PAIRS = 1000


def order_warnings(table: CleanTable) -> list[str]:
    """What is odd about the order in time that a split in time rests on.

    Some copies of a dataset keep each user's items sorted by id and have made their times up from that.
    """
    pairs = table.height - int(np.count_nonzero(np.diff(table.indptr)))
    if pairs < FEWEST_PAIRS:
        return []
    if any(_all_one_way(places, table) for places in _orders(table.item_ids)):
        return [
            "by their times every user's items stand in the order of their ids: such times say little of what came "
            "first, and a split in time tests them; --set dataset.split.strategy=ratio does not look at times"
        ]
    return []


def _all_one_way(places: NDArray[np.int64], table: CleanTable) -> bool:
    """Whether each user's items all stand in the order of these places, or all the other way round."""
    up = down = True
    for first, last in ranges_of_users(table.indptr):
        start, stop = table.indptr[first], table.indptr[last]
        steps = np.diff(places[table.items[start:stop]])
        within = np.ones(len(steps), dtype=bool)
        begins = table.indptr[first + 1 : last] - start
        within[begins[(begins > 0) & (begins < stop - start)] - 1] = False
        up, down = up and bool((steps[within] > 0).all()), down and bool((steps[within] < 0).all())
        if not (up or down):
            return False
    return True


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
