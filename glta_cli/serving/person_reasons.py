"""Reasons of one person's list, from an index."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.scorer import Scorer
from glta_cli.recipe.fused_terms import ENCODER, LANGUAGE, LINEAR
from glta_cli.serving.choice import Liking
from glta_cli.serving.guests import NOT_READ, PeopleRead, ReadPeople, guest_scorer
from glta_cli.serving.index import Index
from glta_cli.serving.linear_term import shares_in
from glta_cli.serving.reasons import (
    EXACT,
    LEFT_OUT,
    WHOLE,
    WISH,
    Contributions,
    Reasons,
    Share,
    TermReasons,
    by_item,
    histories_without,
    linear_contributions,
    only,
    share_of,
    standardised,
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

    @cached_property
    def items(self) -> NDArray[np.int64]:
        """All items of both histories, each once, the latest first."""
        both = (self.history.items[::-1].tolist(), self.linear.items[::-1].tolist())
        return np.array(list(dict.fromkeys([*both[0], *both[1]])), dtype=np.int64)

    @cached_property
    def told(self) -> list[tuple[Interactions, PeopleRead]]:
        """The history, then blocks of those without each of `items` in turn, and what was read of each."""
        histories = [self.history, *histories_without(self.history, self.items)]
        return [(each, NOT_READ if self.reader is None else self.reader(each)) for each in histories]


def user_reasons(
    index: Index,
    row: ServedRow,
    user: int,
    targets: NDArray[np.int64],
    reader: ReadPeople | None = None,
    liking: Liking | None = None,
) -> Reasons:
    """Why a user of the index has the scores of some items, [K], by a row.

    Args:
        reader: has histories read by trained models; None takes the terms that need it as they are.
        liking: what counts beside the row.
    """
    person = np.array([user])
    left_out = index.left_out(person)
    known = Person(
        only(index.history, user),
        only(index.linear_histories, user),
        lambda term: index.term_scorer(term, *left_out)(person)[0],
        reader,
    )
    return _reasons(index, row, known, index.length(user), targets, liking)


def guest_reasons(
    index: Index,
    row: ServedRow,
    guest: Interactions,
    targets: NDArray[np.int64],
    read: PeopleRead = NOT_READ,
    reader: ReadPeople | None = None,
    liking: Liking | None = None,
) -> Reasons:
    """The same for one person who is in no file, by a row as it could be told of them (`guest_scorer`).

    Args:
        read: what trained models made of them.
    """
    alone = np.zeros(1, dtype=np.int64)

    def scores(term: str) -> NDArray[np.float32]:
        return guest_scorer(index, _alone(row, term), guest, read)[0](alone)[0]

    return _reasons(index, row, Person(guest, guest, scores, reader), len(guest), targets, liking)


def _reasons(
    index: Index,
    row: ServedRow,
    person: Person,
    length: int,
    targets: NDArray[np.int64],
    liking: Liking | None,
) -> Reasons:
    weights = [None] if row.weights is None else row.weights.of_lengths(np.array([length]))[0].tolist()
    scores = [person.scores(term) for term in row.terms]  # [I] each
    shares = [share_of(own, weight) for own, weight in zip(scores, weights, strict=True)]
    if liking is not None:
        shares = standardised(shares, scores)
    terms = []
    for term, own, share in zip(row.terms, scores, shares, strict=True):
        how, parts = _parts(index, _alone(row, term), person, targets, share)
        terms.append(TermReasons(row.rows[term], how, share.of(own[targets]), parts, share.constant))
    if liking is not None:
        liked = share_of(liking.scores, liking.weight).of(liking.scores[targets])
        terms.append(TermReasons(WISH, WHOLE, liked, None))
    return Reasons(person.items, tuple(terms))


def _parts(
    index: Index, row: ServedRow, person: Person, targets: NDArray[np.int64], share: Share
) -> tuple[str, Contributions | None]:
    """How the one term of a row can be taken apart, and what each item does by it: [H, K]."""
    [term] = row.terms
    if term == LINEAR:
        weights, recency = index.item_weights()
        met = person.linear
        parts = linear_contributions(weights, met.items, shares_in(met, recency), targets)
        return EXACT, np.float32(share.scale) * by_item(parts, met.items, person.items)
    if term not in (ENCODER, LANGUAGE) or (term == LANGUAGE and person.reader is None):
        return WHOLE, None

    def scored(histories: Interactions, read: PeopleRead) -> NDArray[np.float32]:
        score: Scorer = guest_scorer(index, row, histories, read)[0]
        return score(np.arange(histories.user_count))[:, targets]

    whole, *without = (scored(*each) for each in person.told)  # [1, K], then [B, K] each
    lost = [whole - each for each in without] or [np.zeros((0, len(targets)), dtype=np.float32)]
    return LEFT_OUT, np.float32(share.scale) * np.concatenate(lost)


def _alone(row: ServedRow, term: str) -> ServedRow:
    """One term of a row."""
    return ServedRow((term,), None, row.rows, row.shown)
