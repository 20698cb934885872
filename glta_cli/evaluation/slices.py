"""Parts of the test interactions that a mean over users hides: rare and unseen items, short and long histories."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glta_cli.plugin.interactions import Interactions
from glta_cli.ranking.metrics import ranking_metrics

HEAD_SHARE = 0.2


@dataclass(frozen=True)
class Slice:
    """Some of the test interactions.

    Attributes:
        name: such as `cold items`.
        about: which they are, in words.
        relevant: they alone, of all U users and I items; users without any are no part of the slice.
    """

    name: str
    about: str
    relevant: Interactions

    @property
    def users(self) -> NDArray[np.int64]:
        return np.flatnonzero(self.relevant.counts)


def slices_of(train: Interactions, test: Interactions) -> list[Slice]:
    """The slices that have test interactions: items by their popularity in training, users by their history's length.

    Head items are the fifth of the seen items with the most training interactions, tail items the other seen ones, and
    cold items stand in no training interaction. Short histories are the lower third of the users with a test item,
    long ones the upper third, ties with a bound counted as short and as not long.
    """
    return [each for each in _slices(train, test) if len(each.relevant)]


def slice_metrics(
    ranked: NDArray[np.int64], users: NDArray[np.int64], part: Slice, cutoff: int
) -> dict[str, NDArray[np.float64]]:
    """NDCG and recall of the slice's items at a cutoff, one value for each of its users.

    The ranking is that of the whole catalogue: an item of the slice competes with all others.

    Args:
        ranked: item indices, best first, of `users`, ascending: [n, K].
    """
    rows = np.searchsorted(users, part.users)
    values = ranking_metrics(ranked[rows], part.users, part.relevant, [cutoff])
    return {name: values[name] for name in (f"ndcg@{cutoff}", f"recall@{cutoff}")}


def _slices(train: Interactions, test: Interactions) -> Iterator[Slice]:
    popularity = np.bincount(train.items, minlength=train.item_count)  # [I]
    seen = np.flatnonzero(popularity)
    most_popular = seen[np.argsort(-popularity[seen], kind="stable")]
    head = np.zeros(train.item_count, dtype=bool)
    head[most_popular[: round(HEAD_SHARE * len(seen))]] = True
    yield Slice("cold items", "in no training interaction", test.where(popularity[test.items] == 0))
    yield Slice(
        "tail items",
        "the other four fifths of the seen items",
        test.where((popularity > 0)[test.items] & ~head[test.items]),
    )
    yield Slice(
        "head items", "the fifth of the seen items with the most training interactions", test.where(head[test.items])
    )

    lengths = train.counts[test.counts > 0]
    if len(lengths):
        shortest, longest = np.quantile(lengths, [1 / 3, 2 / 3], method="inverted_cdf")
        of_test = train.counts[test.users]
        yield Slice("short histories", f"users with at most {shortest} training items", test.where(of_test <= shortest))
        yield Slice("long histories", f"users with more than {longest} training items", test.where(of_test > longest))
