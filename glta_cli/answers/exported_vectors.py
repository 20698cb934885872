"""One vector an item and one query a user, whose inner product ranks as a served row does.

A row of several terms adds them up z-scored per user over the catalogue, score_u(i) = Σ_t w_t (s_t(u, i) - mean_t(u)) /
σ_t(u). What is the same for all items of a user changes no ranking, so that

    score_u(i) ~ ⟨[w_t·u_t / σ_t(u)]_t, [i_t]_t⟩

with one more coordinate, the bias of the language model's items, whose query is w/σ(u). For a term of vectors σ_t(u)²
is uᵀ Cov(i) u; here it is taken of the scores themselves, as the served row takes it. A linear term scores by the
history times item-item weights B, which no short vectors give exactly: the first singular vectors of B are the best of
their number, and what that costs is measured. Weights of low rank are a product already, exact for all items but those
of the history itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glta_cli.answers.truncated_svd import truncated_product, truncated_svd
from glta_cli.core.counts import counted
from glta_cli.core.errors import InputError
from glta_cli.core.progress import progress_bar
from glta_cli.plugin.scorer import Scorer
from glta_cli.ranking.top_k import BLOCK, mask_seen, top_k
from glta_cli.recipe.fused_terms import LANGUAGE, LINEAR
from glta_cli.serving.fusion import fuse_terms, mean_and_deviation
from glta_cli.serving.index import Index
from glta_cli.serving.item_factors import ItemFactors
from glta_cli.serving.linear_term import LINEAR as LINEAR_FILE
from glta_cli.serving.linear_term import AnyWeights, history_matrix
from glta_cli.serving.served_row import POPULARITY, ServedRow

KnownFactors = dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Of item-item weights, by the SHA-256 of their file, what `truncated_svd` gives."""

COMPARED = 10
"""Ranks by which an export is compared with the row it stands for."""


@dataclass(frozen=True, eq=False)
class ExportedVectors:
    """Vectors whose inner products rank, and how they compare with the row they stand for.

    Attributes:
        users: float32 [U, D]; zeros of users without a history.
        items: float32 [I, D].
        people: users with a history, ascending, [n]: those compared.
        overlap: of the first ten of the row, seen items left out, the share that is among the first ten here, [n].
        same: whether the first ten are the same in the same order, [n].
        evenly: users whose terms that are left all have a weight of 0, and count 1 each instead.
    """

    users: NDArray[np.float32]
    items: NDArray[np.float32]
    people: NDArray[np.int64]
    overlap: NDArray[np.float64]
    same: NDArray[np.bool_]
    evenly: int


@dataclass(frozen=True, eq=False)
class _Term:
    """One term as vectors: queries of users [B] -> [B, D], items [I, D], and the scores it really has."""

    queries: Callable[[NDArray[np.int64]], NDArray[np.float32]]
    items: NDArray[np.float32]
    score: Scorer


def exported_vectors(
    index: Index, row: ServedRow, terms: Sequence[str], rank: int | None, known: KnownFactors | None = None
) -> ExportedVectors:
    """The vectors of a row of an index, made of those of its terms that are kept.

    Args:
        terms: those kept, of `row.terms`.
        rank: how many singular vectors a linear term is given.
        known: factors of item-item weights that were found before, of that rank; what is found now is added.

    Raises:
        InputError: a term reads several rows of a list out of the language model, or no rank is given for a linear one.
    """
    kept = [_as_vectors(index, term, rank, {} if known is None else known) for term in terms]
    left_out = [index.term_scorer(term, index.seen) for term in row.terms if term not in terms]
    items = np.concatenate([each.items for each in kept], axis=1)
    users = np.zeros((len(index.user_ids), items.shape[1]), dtype=np.float32)
    people = np.flatnonzero(index.history.counts)
    overlap, same = np.zeros(len(people)), np.zeros(len(people), dtype=bool)
    order = [*terms, *(term for term in row.terms if term not in terms)]
    weights = weights_in(row, order, index.lengths)  # [U, T]
    evenly = 0
    with progress_bar(len(people), "export", "users", step="this batch of users") as bar:
        for start in range(0, len(people), BLOCK):
            batch = people[start : start + BLOCK]
            scores = [each.score(batch) for each in kept]
            own, silent = _heard(weights[batch, : len(kept)])
            evenly += silent
            users[batch] = _queries(kept, scores, own, batch, alone=row.weights is None)
            exact = _row_scores([*scores, *(score(batch) for score in left_out)], row, weights[batch])
            place = slice(start, start + len(batch))
            overlap[place], same[place] = _compared(exact, users[batch] @ items.T, index, batch)
            bar.update(len(batch))
    return ExportedVectors(users, items, people, overlap, same, evenly)


def weights_in(row: ServedRow, order: Sequence[str], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
    """The weights of a row's terms in that order, for users with histories of these lengths: [U, T]."""
    if row.weights is None:
        return np.ones((len(lengths), 1), dtype=np.float32)
    places = [row.terms.index(term) for term in order]
    return row.weights.of_lengths(lengths)[:, places]


def _queries(
    terms: Sequence[_Term],
    scores: Sequence[NDArray[np.float32]],
    weights: NDArray[np.float32],
    users: NDArray[np.int64],
    *,
    alone: bool,
) -> NDArray[np.float32]:
    """Of users [B], their queries [B, D]; a term alone is ranked as it is."""
    if alone:
        return terms[0].queries(users)
    scales = [weights[:, [place]] / mean_and_deviation(found)[1] for place, found in enumerate(scores)]
    return np.concatenate([each.queries(users) * scale for each, scale in zip(terms, scales, strict=True)], axis=1)


def _heard(weights: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """Weights [B, T] with 1 each where all of a user's are 0, and of how many users they were."""
    silent = np.count_nonzero(weights, axis=1) == 0
    return np.where(silent[:, None], np.float32(1), weights), int(silent.sum())


def _row_scores(
    scores: Sequence[NDArray[np.float32]], row: ServedRow, weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    return scores[0].copy() if row.weights is None else fuse_terms(scores, weights)


def _compared(
    exact: NDArray[np.float32], exported: NDArray[np.float32], index: Index, users: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Of each user [B], the share of the first ten that both have, and whether they are the same in the same order."""
    lists = []
    for scores in (exact, exported):
        mask_seen(scores, users, *index.left_out(users))
        found = top_k(scores, COMPARED)
        # Of a user who has met nearly everything the last ranks are no answers.
        lists.append(np.where(np.isneginf(np.take_along_axis(scores, found, axis=1)), -1, found))
    first, second = lists
    answers = np.maximum((first >= 0).sum(axis=1), 1)
    shared = ((first[:, :, None] == second[:, None]) & (first[:, :, None] >= 0)).any(axis=2).sum(axis=1)
    return np.where((first >= 0).any(axis=1), shared / answers, 1.0), (first == second).all(axis=1)


# ------------------------------------------------------------------------------------------------ terms as vectors


def _as_vectors(index: Index, term: str, rank: int | None, known: KnownFactors) -> _Term:
    score = index.term_scorer(term, index.seen)
    if term == LINEAR:
        return _linear(index, score, rank, known)
    if term == POPULARITY:
        return _Term(lambda users: np.ones((len(users), 1), dtype=np.float32), index.popularity()[:, None], score)
    rows, columns, bias = index.vectors(term)
    if rows.shape[1] > 1:
        raise _several_rows(rows.shape[1])
    if bias is None:
        return _Term(lambda users: rows[users, 0], np.ascontiguousarray(columns.T), score)
    items = np.concatenate([columns.T, bias[:, None]], axis=1)
    return _Term(lambda users: np.pad(rows[users, 0], ((0, 0), (0, 1)), constant_values=1), items, score)


def _linear(index: Index, score: Scorer, rank: int | None, known: KnownFactors) -> _Term:
    weights, recency = index.item_weights()
    met = history_matrix(index.linear_histories, recency)
    digest = str(index.artefact.manifest["outputs"][LINEAR_FILE])
    if digest not in known:
        known[digest] = _factors(weights, rank, str(index.artefact.details["terms"][LINEAR]))
    sources, items = known[digest]

    def queries(users: NDArray[np.int64]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = met[users] @ sources
        return found

    return _Term(queries, items, score)


def _factors(weights: AnyWeights, rank: int | None, name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Item-item weights as a product, [I, d] twice."""
    if isinstance(weights, ItemFactors):
        if rank is None or rank >= weights.sources.shape[1]:
            return weights.sources, weights.targets
        return truncated_product(weights.sources, weights.targets, rank)
    if rank is None:
        raise needs_a_rank(name)
    return truncated_svd(weights.matrix, rank)


def needs_a_rank(name: str) -> InputError:
    """The error that a linear term is no short vector."""
    return InputError(
        f"{name} scores by a history times a weight for every pair of items, which no short vectors give exactly",
        location="--rank",
        hint=f"--rank 256 exports its first 256 singular vectors and measures what is lost; --without {name} leaves it "
        "out of a row of several terms",
    )


def _several_rows(count: int) -> InputError:
    return InputError(
        f"the language model gives {counted(count, 'query', 'queries')} a user, one for each rank of a list, and an "
        "inner product ranks by one",
        location=f"--without {LANGUAGE}",
        hint="finetune.readout=first ranks by one; --without llm leaves the language model out",
    )
