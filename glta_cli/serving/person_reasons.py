"""Reasons of one person's list, from an index."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.scorer import Scorer
from glta_cli.recipe.fused_terms import ENCODER, LANGUAGE, LINEAR
from glta_cli.serving.guests import NOT_READ, PeopleRead, ReadPeople, guest_scorer
from glta_cli.serving.index import Index
from glta_cli.serving.linear_term import shares_in
from glta_cli.serving.reasons import (
    EXACT,
    LEFT_OUT,
    WHOLE,
    Contributions,
    Reasons,
    Share,
    TermReasons,
    by_item,
    histories_without,
    linear_contributions,
    only,
    share_of,
)
from glta_cli.serving.served_row import ServedRow


@dataclass(frozen=True, eq=False)
class Person:
    """Whose list it is.

    Attributes:
        history: theirs alone, as one user's; the latest last.
        linear: the history a linear term scores by, where that is another.
        scores: by term, of the whole catalogue: [I].
        reader: has histories read by trained models; None where they are not to be.
    """

    history: Interactions
    linear: Interactions
    scores: Callable[[str], NDArray[np.float32]]
    reader: ReadPeople | None = None

    @property
    def items(self) -> NDArray[np.int64]:
        """All items of both histories, each once, the latest first."""
        both = (self.history.items[::-1].tolist(), self.linear.items[::-1].tolist())
        return np.array(list(dict.fromkeys([*both[0], *both[1]])), dtype=np.int64)


def user_reasons(
    index: Index, row: ServedRow, user: int, targets: NDArray[np.int64], reader: ReadPeople | None = None
) -> Reasons:
    """Why a user of the index has the scores of some items, [K], by a row."""
    person = np.array([user])
    left_out = index.left_out(person)
    known = Person(
        only(index.history, user),
        only(index.linear_histories, user),
        lambda term: index.term_scorer(term, *left_out)(person)[0],
        reader,
    )
    return _reasons(index, row, known, index.length(user), targets)


def guest_reasons(
    index: Index,
    row: ServedRow,
    guest: Interactions,
    targets: NDArray[np.int64],
    read: PeopleRead = NOT_READ,
    reader: ReadPeople | None = None,
) -> Reasons:
    """The same for one person who is in no file, by a row as it could be told of them (`guest_scorer`).

    Args:
        read: what trained models made of them.
    """
    alone = np.zeros(1, dtype=np.int64)

    def scores(term: str) -> NDArray[np.float32]:
        return guest_scorer(index, _alone(row, term), guest, read)[0](alone)[0]

    return _reasons(index, row, Person(guest, guest, scores, reader), len(guest), targets)


def _reasons(index: Index, row: ServedRow, person: Person, length: int, targets: NDArray[np.int64]) -> Reasons:
    weights = [None] if row.weights is None else row.weights.of_lengths(np.array([length]))[0]
    items = person.items
    terms = []
    for term, weight in zip(row.terms, weights, strict=True):
        scores = person.scores(term)
        share = share_of(scores, None if weight is None else float(weight))
        how, parts = _parts(index, _alone(row, term), person, items, targets, share)
        terms.append(TermReasons(row.rows[term], how, share.of(scores[targets]), parts, share.constant))
    return Reasons(items, tuple(terms))


def _parts(
    index: Index, row: ServedRow, person: Person, items: NDArray[np.int64], targets: NDArray[np.int64], share: Share
) -> tuple[str, Contributions | None]:
    """How the one term of a row can be taken apart, and what each item does by it: [H, K]."""
    [term] = row.terms
    if term == LINEAR:
        weights, recency = index.item_weights()
        met = person.linear
        parts = linear_contributions(weights, met.items, shares_in(met, recency), targets)
        return EXACT, np.float32(share.scale) * by_item(parts, met.items, items)
    if term not in (ENCODER, LANGUAGE) or (term == LANGUAGE and person.reader is None):
        return WHOLE, None

    def scored(histories: Interactions) -> NDArray[np.float32]:
        read = NOT_READ if person.reader is None else person.reader(histories)
        score: Scorer = guest_scorer(index, row, histories, read)[0]
        return score(np.arange(histories.user_count))[:, targets]

    with_all = scored(person.history)  # [1, K]
    without = np.concatenate([scored(block) for block in histories_without(person.history, items)])
    return LEFT_OUT, np.float32(share.scale) * (with_all - without)


def _alone(row: ServedRow, term: str) -> ServedRow:
    """One term of a row."""
    return ServedRow((term,), None, row.rows, row.shown)
