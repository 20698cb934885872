"""Scores of people who are in no file, from their histories alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.errors import InputError
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.scorer import Scorer, product_scorer
from glta_cli.recipe.fused_terms import ENCODER, LANGUAGE, LINEAR
from glta_cli.serving.fusion import FusionWeights
from glta_cli.serving.index import Index
from glta_cli.serving.linear_term import linear_scorer
from glta_cli.serving.served_row import ServedRow


@dataclass(frozen=True, eq=False)
class PeopleRead:
    """What trained models made of people who are in no file.

    Attributes:
        language_rows: the language model's queries, float32 [B, R, D]; None where it has not read them.
        graph_users: the encoder's vectors, float32 [B, d]; None for those that follow from their items.
    """

    language_rows: NDArray[np.float32] | None = None
    graph_users: NDArray[np.float32] | None = None

    def of(self, person: int) -> PeopleRead:
        """That of one of them."""
        rows, users = self.language_rows, self.graph_users
        return PeopleRead(
            None if rows is None else rows[person : person + 1], None if users is None else users[person : person + 1]
        )


NOT_READ = PeopleRead()
"""Of people who are answered at once, from the index alone."""

ReadPeople = Callable[[Interactions], PeopleRead]
"""Has trained models read histories, [B]."""


def guests_of(histories: Sequence[Sequence[int]], item_count: int, *, weighted: bool = False) -> Interactions:
    """Histories as interactions, one row a person, each item once, where it stood last.

    Args:
        histories: item indices, oldest first.
        weighted: whether an item that is named several times weighs as much more, as in a log whose repeated rows add
            up; else it weighs the same.
    """
    rows, items, weights = [], [], []
    for row, history in enumerate(histories):
        # What is met again moves to the end, as the newest of an item's rows counts in a log.
        last, times = dict.fromkeys(reversed(history)), Counter(history)
        for item in reversed(last):
            rows.append(row)
            items.append(item)
            weights.append(times[item])
    return Interactions.from_pairs(
        rows,
        items,
        user_count=len(histories),
        item_count=item_count,
        weights=np.array(weights, dtype=np.float32) if weighted else None,
    )


def guest_scorer(
    index: Index,
    row: ServedRow,
    guests: Interactions,
    read: PeopleRead = NOT_READ,
) -> tuple[Scorer, ServedRow]:
    """Scores of people [B] by a row, and the row as it could be told of them.

    A linear term scores their histories as anybody's; the encoder has a vector for them that follows from their items,
    as new users have in `glta update`. The language model has nothing of them unless it reads them: without rows of its
    own its term is left out, and of a row that is it alone the encoder stands in.

    Args:
        guests: histories, [B].
        read: what trained models made of each of them, where they read them.

    Raises:
        InputError: nothing the index holds can tell anything of somebody who was not read.
    """
    told = row if read.language_rows is not None else without_language(index, row)
    scorers = [_term_scorer(index, term, guests, read) for term in told.terms]
    return told.scorer_of(scorers, guests.counts), told


def without_language(index: Index, row: ServedRow) -> ServedRow:
    """A row as far as it can be told of somebody the language model has not read."""
    if LANGUAGE not in row.terms:
        return row
    kept = tuple(term for term in row.terms if term != LANGUAGE)
    if not kept:
        held = [term for term in (ENCODER, LINEAR) if term in index.terms]
        if not held:
            problem = "only the language model takes part in what is served, and it has not read this history"
            raise InputError(problem, location="history", hint="deep (--deep) has it read, which takes longer")
        return replace(row, terms=(held[0],), weights=None, figure=None, tried=0)
    if len(kept) == 1:
        return replace(row, terms=kept, weights=None, figure=None, tried=0)
    assert row.weights is not None, "several terms have weights"
    places = [row.terms.index(term) for term in kept]
    weights = np.asarray(row.weights.weights, dtype=np.float64)[:, places]  # [S, T - 1]
    # Where the language model had all the weight the others share it.
    weights[~weights.any(axis=1)] = 1.0
    fusion = FusionWeights(row.weights.starts, weights.tolist())
    return replace(row, terms=kept, weights=fusion, figure=None, tried=0)


def _term_scorer(
    index: Index,
    term: str,
    guests: Interactions,
    read: PeopleRead,
) -> Scorer:
    if term == LINEAR:
        return linear_scorer(*index.item_weights(), guests)
    if term == ENCODER:
        columns = index.graph_vectors()[1]  # [d, I]
        vectors = read.graph_users
        if vectors is None:
            vectors = index.user_map.vectors_of(_means(columns, guests), guests.counts > 0)
        return product_scorer(vectors, columns.T)
    if term == LANGUAGE:
        assert read.language_rows is not None, "without rows there is no such term"
        return index.language_scores(read.language_rows).scorer(guests)
    return index.term_scorer(term)


def _means(columns: NDArray[np.float32], guests: Interactions) -> NDArray[np.float32]:
    """The mean of the vectors of each one's items: columns [d, I] -> [B, d], zeros where there is none."""
    means = np.zeros((guests.user_count, len(columns)), dtype=np.float32)
    for person in range(guests.user_count):
        items = guests.of(person)
        if len(items):
            means[person] = columns[:, items].mean(axis=1)
    return means
