"""Weights of the terms of a served score, and whether their sum or one of them alone is the best row on validation.

score = Σ_t w_t·z(term_t), each term z-scored per user over the catalogue. The weights are a step function of the length
of the user's history; each may be 0.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.counts import counted
from glta_cli.core.errors import GltaError
from glta_cli.core.progress import progress_bar
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.scorer import Scorer
from glta_cli.ranking.metrics import ranking_metrics
from glta_cli.ranking.top_k import BLOCK, mask_seen, top_k
from glta_cli.serving.fusion import (
    CUTOFF,
    KEPT_BEFORE_INDEX,
    WEIGHTS,
    FusionWeights,
    fusion_users,
    step_starts,
    z_scores,
)

MOST_ROUNDS = 3
# After the first round a weight is looked for beside where it is, and at 0.
NEAR = (-2, -1, 1, 2)
ONE = WEIGHTS.index(1.0)

Row = tuple[int, ...]
"""Of each term the place of its weight among `WEIGHTS`; 0 is a weight of 0."""


@dataclass(frozen=True)
class ChosenTerms:
    """What validation found best.

    Attributes:
        served: the terms that take part; one alone is ranked as it is.
        weights: of those terms; None of one alone.
        single: validation NDCG@10 of each term alone.
        fused: of the best sum found, chosen and measured on the same users.
        cross_checked: of sums chosen on one half of the users and measured on the other, the mean over both halves.
        users: that took part in the choice.
    """

    served: list[str]
    weights: FusionWeights | None
    single: dict[str, float]
    fused: float
    cross_checked: float
    users: int

    @property
    def best_single(self) -> str:
        """The first of the best terms alone."""
        return max(self.single, key=self.single.__getitem__)


def choose_terms(
    terms: Mapping[str, Scorer], train: Interactions, validation: Interactions, *, seed: int
) -> ChosenTerms:
    """The row with the best validation NDCG@10: a term alone, or a weighted sum of several.

    Weights are found by coordinate ascent over `WEIGHTS` from the best term alone, for each third of the users by
    history length on its own. A sum is taken only where it holds elsewhere: weights chosen on a random half of the
    users are measured on the other half, both ways, and the mean has to be better than the best term alone.

    Args:
        terms: scores by training histories, of `fusion_users` at least; of equal rows the first is taken.

    Raises:
        GltaError: no user has a validation item.
    """
    users = fusion_users(validation, seed=seed)
    if not len(users):
        hint = "prepare with a larger validation share, or name one term, such as --set 'fusion.terms=[encoder]'"
        raise GltaError("no user has a validation item, so that nothing can weigh the terms", hint=hint)
    starts = step_starts(train.counts[users])
    quality = _Quality(terms, users, starts, train, validation, seed)
    alone = _alone(len(terms))
    passes = 1 + MOST_ROUNDS * len(terms) + 1
    with progress_bar(
        passes * len(users), "choose fusion weights", "users", step="this batch of users", kept=KEPT_BEFORE_INDEX
    ) as bar:
        quality.bar, quality.most_passes = bar, passes
        quality.measure({cell: set(alone) for cell in quality.cells})
        halves = [[cell for cell in quality.cells if cell[0] == half] for half in (0, 1)]
        everyone, *by_half = _ascend_together(quality, [quality.cells, *halves], len(terms))
        # Each half by the weights the other chose.
        judged = {cell: by_half[1 - cell[0]][cell[1]] for cell in quality.cells}
        quality.measure({cell: {row} for cell, row in judged.items()})
        bar.tell(counted(quality.passes, "pass", "passes"), "")
        bar.end_here()
    single = {name: quality.mean_of(row, quality.cells) for name, row in zip(terms, alone, strict=True)}
    fused = quality.mean({cell: everyone[cell[1]] for cell in quality.cells})
    return _decided(list(terms), starts, everyone, single, fused, quality.mean(judged), len(users))


def _decided(
    names: list[str],
    starts: list[int],
    rows: Sequence[Row],
    single: dict[str, float],
    fused: float,
    cross_checked: float,
    users: int,
) -> ChosenTerms:
    """Of each step's row of weights and what everything came to: the terms that are served."""
    best = max(single, key=single.__getitem__)
    heard = [place for place in range(len(names)) if any(row[place] for row in rows)]
    if len(heard) < 2 or not (fused > single[best] and cross_checked > single[best]):
        return ChosenTerms([best], None, single, fused, cross_checked, users)
    weights = [[WEIGHTS[row[place]] for place in heard] for row in rows]
    served = [names[place] for place in heard]
    return ChosenTerms(served, FusionWeights(starts, weights), single, fused, cross_checked, users)


def _alone(count: int) -> list[Row]:
    """The rows in which one term has all the weight."""
    return [tuple(ONE if place == term else 0 for place in range(count)) for term in range(count)]


# ---------------------------------------------------------------------------------------------- what rows come to

Cell = tuple[int, int]
"""Which half of the users, and which step of history length."""


class _Quality:
    """Validation NDCG@10 of rows of weights, by user; measured once."""

    def __init__(
        self,
        terms: Mapping[str, Scorer],
        users: NDArray[np.int64],
        starts: list[int],
        train: Interactions,
        validation: Interactions,
        seed: int,
    ) -> None:
        self.scorers = list(terms.values())
        self.train, self.validation = train, validation
        self.steps = len(starts)
        half = np.random.default_rng(seed).permutation(len(users)) % 2
        step = np.searchsorted(starts, train.counts[users], side="right") - 1
        cells = [(side, number) for side in (0, 1) for number in range(len(starts))]
        members = {(side, number): users[(half == side) & (step == number)] for side, number in cells}
        self.users = {cell: found for cell, found in members.items() if len(found)}
        self.cells = list(self.users)
        self.known: dict[tuple[Cell, Row], float] = {}  # sums over the users of a cell
        self.bar: Any = None
        self.passes = self.most_passes = 0

    def mean_of(self, row: Row, cells: Sequence[Cell]) -> float:
        """The mean over all users of some cells, by one row that was measured."""
        return self.mean(dict.fromkeys(cells, row))

    def mean(self, rows: Mapping[Cell, Row]) -> float:
        """The mean over all users of some cells, each with a row of its own that was measured."""
        total = sum(self.known[cell, row] for cell, row in rows.items())
        return total / sum(len(self.users[cell]) for cell in rows)

    def measure(self, wanted: Mapping[Cell, set[Row]]) -> None:
        """Measure the rows of each cell that were not before, in one pass over the users."""
        self.passes += 1
        # How many there are shows when no weight moves any more.
        self.bar.tell(f"{self.passes} of at most {self.most_passes} passes", "")
        for cell, rows in wanted.items():
            new = sorted(row for row in rows if (cell, row) not in self.known)
            if new:
                self._measure(cell, new)

    def _measure(self, cell: Cell, rows: list[Row]) -> None:
        users = self.users[cell]
        ranked = np.empty((len(rows), len(users), min(CUTOFF, self.train.item_count)), dtype=np.int64)
        for start in range(0, len(users), BLOCK):
            batch = users[start : start + BLOCK]
            for number, fused in enumerate(self._fused(batch, rows)):
                ranked[number, start : start + len(batch)] = top_k(fused, CUTOFF)
            self.bar.update(len(batch))
        found = ranking_metrics(
            ranked.reshape(len(rows) * len(users), -1), np.tile(users, len(rows)), self.validation, [CUTOFF]
        )[f"ndcg@{CUTOFF}"]
        for row, values in zip(rows, found.reshape(len(rows), len(users)), strict=True):
            self.known[cell, row] = float(values.sum())

    def _fused(self, batch: NDArray[np.int64], rows: list[Row]) -> Generator[NDArray[np.float32], None, None]:
        """The sum of each row for some users, [B, I] with seen items masked; one array for all, made anew each time."""
        heard = [term for term in range(len(self.scorers)) if any(row[term] for row in rows)]
        scores = {term: z_scores(self.scorers[term](batch)) for term in heard}
        shared = np.zeros((len(batch), self.train.item_count), dtype=np.float32)
        mask_seen(shared, batch, self.train)
        fused, weighted = np.empty_like(shared), np.empty_like(shared)

        def add(term: int, row: Row, total: NDArray[np.float32]) -> None:
            if row[term]:
                np.multiply(scores[term], np.float32(WEIGHTS[row[term]]), out=weighted)
                total += weighted

        # A pass looks for one weight: what the other terms add up to is the same for all rows.
        varied = [term for term in heard if len({row[term] for row in rows}) > 1]
        for term in heard:
            if term not in varied:
                add(term, rows[0], shared)
        for row in rows:
            fused[:] = shared
            for term in varied:
                add(term, row, fused)
            yield fused


# ------------------------------------------------------------------------------------------------- the ascent


def _ascend_together(quality: _Quality, parts: Sequence[list[Cell]], count: int) -> list[list[Row]]:
    """The row of each step that is best on each part of the users, for `count` terms.

    All parts ascend at once, so that what they ask in common is measured once, and the users are gone through as often
    as by one of them alone.
    """
    ascents = [_ascent(quality, part, count) for part in parts]
    found: list[list[Row]] = [[] for _ in parts]
    waiting: dict[int, set[tuple[Cell, Row]]] = {}

    def go_on(number: int) -> None:
        try:
            waiting[number] = next(ascents[number])
        except StopIteration as over:
            waiting.pop(number, None)
            found[number] = over.value

    for number in range(len(parts)):
        go_on(number)
    while waiting:
        wanted: dict[Cell, set[Row]] = {}
        for cell, row in set().union(*waiting.values()):
            wanted.setdefault(cell, set()).add(row)
        quality.measure(wanted)
        for number in list(waiting):
            go_on(number)
    return found


def _ascent(quality: _Quality, part: list[Cell], count: int) -> Generator[set[tuple[Cell, Row]], None, list[Row]]:
    """Coordinate ascent on some cells; yields what has to be measured next, and returns the best row of each step.

    A weight is changed only for a better mean, so that a term has to improve the ranking to be heard; of equal changes
    the smaller weight is taken. A step nobody of the part is in stays with the best term alone.
    """
    alone, steps = _alone(count), quality.steps
    means = [quality.mean_of(row, part) if part else 0.0 for row in alone]
    base = int(np.argmax(means))
    rows = [alone[base]] * steps
    others = sorted((term for term in range(count) if term != base), key=lambda term: -means[term])
    cells_of = {step: [cell for cell in part if cell[1] == step] for step in range(steps)}
    for turn in range(MOST_ROUNDS):
        before = list(rows)
        for term in [*others, base]:
            tried = {step: _changed(rows[step], term, everywhere=not turn and term != base) for step in range(steps)}
            yield {(cell, row) for step, found in tried.items() for row in found for cell in cells_of[step]}
            for step, found in tried.items():
                if cells := cells_of[step]:
                    rows[step] = max(found, key=partial(quality.mean_of, cells=cells))
        if rows == before:
            break
    return rows


def _changed(row: Row, term: int, *, everywhere: bool) -> list[Row]:
    """The row as it is, then with other weights of one term, ascending: all of them, or those near it and 0."""
    near = {row[term] + far for far in NEAR} | {0}
    places = range(len(WEIGHTS)) if everywhere else sorted(place for place in near if 0 <= place < len(WEIGHTS))
    changed = [(*row[:term], place, *row[term + 1 :]) for place in places if place != row[term]]
    # Without any weight there is no ranking.
    return [row, *(each for each in changed if any(each))]
