"""Reasons: what each item of a history does to the scores of the items that are recommended.

A linear term is a sum over the history, so that its parts are exact: share_h·B[h, i] over all h is its score of i. Of
any other term an item's part is what the score loses where the history is without it. A term of a sum counts as
w·(score − μ)/σ, with μ and σ its mean and deviation over the catalogue for this person (`fusion.py`): its parts are
scaled by w/σ, and −w·μ/σ, the same for all items, is in what is left over beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from glta_cli.plugin.interactions import Interactions
from glta_cli.ranking.top_k import BLOCK
from glta_cli.serving.fusion import mean_and_deviation
from glta_cli.serving.item_factors import ItemFactors
from glta_cli.serving.linear_term import AnyWeights

Contributions = NDArray[np.float32]
"""What each of H items of a history does to each of K scores, [H, K]; what pulls a score down is negative."""

EXACT: Final = "exact"
"""The parts of a term add up to its score."""
LEFT_OUT: Final = "left out"
"""Each part is what the score loses without that item: the score of somebody new who met the same.

A user's own vector was trained, and nothing trains it again without one item; the vector that follows from a history
is there for any. What it does not account for of a user's score is in the rest.
"""
WHOLE: Final = "whole"
"""The term is not taken apart."""
WISH: Final = "wish"
"""What words for what is wanted add, as a term beside those of the row."""


@dataclass(frozen=True, eq=False)
class TermReasons:
    """What one term does to K scores.

    Attributes:
        row: the term's name as a row.
        how: `EXACT`, `LEFT_OUT` or `WHOLE`.
        scores: its part of each score, float32 [K]: all terms' add up to the score.
        parts: of it, by item of the history, [H, K]; None where it is not taken apart.
        constant: of exact parts what is left over, the same for all items.
    """

    row: str
    how: str
    scores: NDArray[np.float32]
    parts: Contributions | None
    constant: float = 0.0

    @property
    def rest(self) -> NDArray[np.float32]:
        """What the history does not account for, [K]."""
        if self.parts is None:
            return self.scores
        if self.how == EXACT:  # a difference would be left with the rounding of the sum
            return np.full_like(self.scores, self.constant)
        return self.scores - self.parts.sum(axis=0)


@dataclass(frozen=True, eq=False)
class Reasons:
    """Why K items have their scores.

    Attributes:
        items: of the history, each once, the latest first: [H].
        terms: of the row that answers.
    """

    items: NDArray[np.int64]
    terms: tuple[TermReasons, ...]

    @property
    def parts(self) -> Contributions:
        """What each item of the history does to each score by all terms that are taken apart, [H, K]."""
        apart = [term.parts for term in self.terms if term.parts is not None]
        return sum(apart, np.zeros((len(self.items), len(self.terms[0].scores)), dtype=np.float32))

    def of(self, place: int, shown: Callable[[int], dict[str, str]]) -> dict[str, Any]:
        """The reasons of one of the K items in plain values.

        Args:
            shown: the id and the title of an item.

        Returns:
            `terms`: of each its row, `how` it was taken apart, its part of the score, how much of that the history
            accounts for and the rest; `history`: of each item its part by all terms and by each, and its `share` of all
            that the history does, for and against: what does most comes first.
        """
        total = self.parts[:, place]
        everything = float(np.abs(total).sum())
        order = np.argsort(-np.abs(total), kind="stable")
        apart = [term for term in self.terms if term.parts is not None]
        return {
            "terms": [
                {
                    "row": term.row,
                    "how": term.how,
                    "score": _plain(term.scores[place]),
                    "history": 0.0 if term.parts is None else _plain(term.parts[:, place].sum()),
                    "rest": _plain(term.rest[place]),
                }
                for term in self.terms
            ],
            "history": [
                {
                    **shown(int(self.items[each])),
                    "part": _plain(total[each]),
                    "share": round(float(total[each]) / everything, 4) if everything else 0.0,
                    "terms": {term.row: _plain(term.parts[each, place]) for term in apart if term.parts is not None},
                }
                for each in order
            ],
        }


@dataclass(frozen=True)
class Share:
    """How a term's own scores become its part of a sum: `scale`·score + `constant`."""

    scale: float = 1.0
    constant: float = 0.0

    def of(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of scores of whatever shape."""
        return np.float32(self.scale) * scores + np.float32(self.constant)


def share_of(scores: NDArray[np.float32], weight: float | None) -> Share:
    """What becomes of a term's scores of the whole catalogue, [I], by its weight; None where it is the only one."""
    if weight is None:
        return Share()
    mean, deviation = mean_and_deviation(scores[None])
    scale = weight / float(deviation[0, 0])  # 0 of a constant row, whose deviation counts as infinite
    return Share(scale, -scale * float(mean[0, 0]))


def standardised(shares: Sequence[Share], scores: Sequence[NDArray[np.float32]]) -> list[Share]:
    """What becomes of terms, [I] each, whose sum is standardised in its turn, to be added to something else."""
    parts = [share.of(own) for share, own in zip(shares, scores, strict=True)]
    total: NDArray[np.float32] = np.sum(parts, axis=0, dtype=np.float32)
    scale = share_of(total, 1.0).scale
    return [
        Share(share.scale * scale, (share.constant - float(part.mean())) * scale)
        for share, part in zip(shares, parts, strict=True)
    ]


def linear_contributions(
    weights: AnyWeights, items: NDArray[np.int64], shares: NDArray[np.float32], targets: NDArray[np.int64]
) -> Contributions:
    """share_h·B[h, i] for each item h of a history and each target i: they add up to the linear scores.

    Args:
        items: of the history, [H].
        shares: what each counts for, [H], as `linear_term.shares_in` has them.
        targets: [K], each once.
    """
    if isinstance(weights, ItemFactors):
        return weights.contributions(items, shares, targets)
    if weights.dense is not None:
        found: Contributions = weights.dense[items[:, None], targets] * shares[:, None]
        return found
    parts = np.zeros((len(items), len(targets)), dtype=np.float32)
    places = np.full(weights.item_count, -1, dtype=np.int64)
    places[targets] = np.arange(len(targets))
    for each, (item, share) in enumerate(zip(items, shares, strict=True)):
        columns, values = weights.row(int(item))
        place = places[columns]
        parts[each, place[place >= 0]] = values[place >= 0] * share
    return parts


def by_item(parts: Contributions, items: NDArray[np.int64], wanted: NDArray[np.int64]) -> Contributions:
    """Parts of the entries of a history, [n, K], as those of its items, [H, K]: an item that was met twice has both.

    Args:
        items: of the entries, [n].
        wanted: the items, each once, [H]; all of `items` are among them.
    """
    order = np.argsort(wanted)
    places = order[np.searchsorted(wanted[order], items)]
    total = np.zeros((len(wanted), parts.shape[1]), dtype=np.float32)
    np.add.at(total, places, parts)
    return total


def only(histories: Interactions, user: int) -> Interactions:
    """The history of one user as that of the only one; the latest item last."""
    part = slice(histories.indptr[user], histories.indptr[user + 1])
    items = histories.items[part]
    weights = None if histories.weights is None else histories.weights[part]
    return Interactions(np.array([0, len(items)]), items, histories.item_count, weights)


def histories_without(history: Interactions, left_out: NDArray[np.int64]) -> Iterator[Interactions]:
    """The history of one person without each of some items in turn, a block of them at a time, as that of so many.

    Args:
        history: of one person.
        left_out: the items, [H].
    """
    items, weights = history.items, history.weights
    for start in range(0, len(left_out), BLOCK):
        block = left_out[start : start + BLOCK]
        kept = items[None, :] != block[:, None]  # [B, n]
        indptr = np.zeros(len(block) + 1, dtype=np.int64)
        np.cumsum(kept.sum(axis=1), out=indptr[1:])
        places = np.nonzero(kept)[1]
        yield Interactions(indptr, items[places], history.item_count, None if weights is None else weights[places])


def _plain(number: np.floating) -> float:
    """A number of single precision with the digits it has."""
    return float(f"{number:.7g}")
