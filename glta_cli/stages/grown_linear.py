"""A linear term for a catalogue that grew: weights of items no fit has seen, foretold by their texts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.counts import agreeing, counted
from glta_cli.core.terminal import say
from glta_cli.plugin import LinearTerm, LowRankTerm
from glta_cli.stages.kept_weights import BLOCK, FLOAT, MOST_BYTES, largest_of, room_a_row

# Of the map from texts to weights, in units of the mean variance of the text vectors.
PENALTY: Final = 0.3
# What an item is taken to say of itself, of which its weights say nothing: who has it likes what reads alike. On
# amazon-scientific-2018, a fifth of its items hidden, NDCG@10 among those was .175 with it and .126 without, by texts
# alone .173; at 1 they would stand before most others.
OF_ITSELF: Final = 0.3


def grown_linear(
    term: LinearTerm | LowRankTerm, item_count: int, texts: NDArray[np.float32] | None
) -> LinearTerm | LowRankTerm:
    """The term for `item_count` items, the first of them those it has, in the order it has them.

    What others say of an item without weights, its column, and what it says of others, its row, are what a ridge
    regression from the vectors of texts, found among the items that have weights, makes of its text. Between two such
    items there is none. Without texts their weights are zeros, and a line says so. Sparse weights, and dense ones that
    grow beyond `MOST_BYTES`, keep the largest of each row. Of weights of low rank the factors are foretold
    (`grown_factors`).

    Source: Gantner et al., Learning Attribute-to-Feature Mappings for Cold-Start Recommendations, ICDM 2010, with the
    item's weights for its factors.

    Args:
        texts: vectors of all item texts, [I', D]; None where there are none.
    """
    if isinstance(term, LowRankTerm):
        return grown_factors(term, item_count, texts)
    blank = _without_weights(term.weights, item_count)
    if not blank.any():
        return term
    shares = None if texts is None or blank.all() else _shares(texts, blank, term.weights.shape[0])
    new = item_count - term.weights.shape[0]
    if shares is None and new:
        _tell_of_silence(new)
    if shares is None and not new:
        return term
    dense = isinstance(term.weights, np.ndarray) and FLOAT * item_count**2 <= MOST_BYTES
    blocks = _rows(term.weights, blank, shares)
    grown = np.concatenate(list(blocks)) if dense else largest_of(blocks, room_a_row(item_count))
    return LinearTerm(grown, term.recency)


def grown_factors(term: LowRankTerm, item_count: int, texts: NDArray[np.float32] | None) -> LowRankTerm:
    """The same for weights of low rank: a new item's factors are what the ridge regression makes of its text.

    So its weights are those that the known items have, each by its share, what they say of themselves among them; and
    between two new items there are weights too.
    """
    count, size = term.targets.shape
    blank = np.ones(item_count, dtype=bool)
    blank[:count] = ~term.targets.any(axis=1)
    if not blank.any():
        return term
    foretold = texts is not None and not blank.all()
    if not foretold and item_count > count:
        _tell_of_silence(item_count - count)
    if not foretold and item_count == count:
        return term
    known, own = ~blank[:count], np.zeros(item_count, dtype=np.float32)
    own[:count] = term.own
    sources, targets = (np.zeros((item_count, size), dtype=np.float32) for _ in range(2))
    for grown, factors in ((sources, term.sources), (targets, term.targets)):
        grown[:count] = factors
        if texts is not None and foretold:
            vectors, solved = _text_regression(texts, blank)
            of_known = factors[known].astype(np.float64)
            grown[blank] = (of_known.T @ vectors @ solved).T + of_known.mean(axis=0)  # [N, d]
    own[blank] = np.einsum("nd,nd->n", sources[blank], targets[blank])
    return LowRankTerm(sources, sources if term.targets is term.sources else targets, own, term.recency)


def _tell_of_silence(new: int) -> None:
    # Whether nothing is written about them or the run reads no texts.
    they = agreeing(new, "it", "them")
    say(f"  no text of {counted(new, 'new item')} is read: the linear term cannot recommend {they} yet")


def _without_weights(weights: Any, item_count: int) -> NDArray[np.bool_]:
    """The items nobody is recommended: those behind the known ones, and known ones with a column of zeros: [I']."""
    blank = np.ones(item_count, dtype=bool)
    if isinstance(weights, np.ndarray):
        blank[: len(weights)] = ~weights.any(axis=0)
    else:
        blank[weights.indices[weights.data != 0]] = False
    return blank


def _shares(texts: NDArray[np.float32], blank: NDArray[np.bool_], count: int) -> NDArray[np.float32]:
    """What each of the first `count` items counts for in the weights of each without: [I, N]; columns add up to 1.

    The prediction of a ridge regression with an intercept is such a sum of what it was found from.
    """
    known, solved = _text_regression(texts, blank)
    shares = np.zeros((count, solved.shape[1]), dtype=np.float32)
    shares[~blank[:count]] = known @ solved + 1 / len(known)
    return shares


def _text_regression(
    texts: NDArray[np.float32], blank: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centred vectors K of items that have weights, [n, D], and Z, [D, N], of those without.

    What K Z + 1/n has in the column of an item is what each known one counts for in whatever is foretold of it.
    """
    known, others = texts[~blank].astype(np.float64), texts[blank].astype(np.float64)
    mean = known.mean(axis=0)
    known -= mean
    gram = known.T @ known  # [D, D]
    # A floor keeps the system solvable where the texts do not vary at all.
    gram[np.diag_indices_from(gram)] += PENALTY * gram.diagonal().mean() + 1e-9
    return known, np.linalg.solve(gram, (others - mean).T)


def _rows(weights: Any, blank: NDArray[np.bool_], shares: NDArray[np.float32] | None) -> Iterator[NDArray[np.float32]]:
    """The rows of all items in blocks, [B, I']."""
    count = weights.shape[0]
    # What each item without weights says of others, [I, N].
    said = None if shares is None else weights.T @ shares + OF_ITSELF * shares
    place = np.cumsum(blank) - 1  # of an item without weights, its column of `shares`
    for start in range(0, len(blank), BLOCK):
        items = np.arange(start, min(start + BLOCK, len(blank)))
        rows = np.zeros((len(items), len(blank)), dtype=np.float32)
        block = weights[start : min(start + BLOCK, count)] if start < count else weights[:0]
        rows[: block.shape[0], :count] = block if isinstance(block, np.ndarray) else block.toarray()
        if shares is not None and said is not None:
            rows[:, blank] = rows[:, :count] @ shares
            rows[: block.shape[0], blank] += OF_ITSELF * shares[start : start + block.shape[0]]
            own = np.flatnonzero(blank[items])
            rows[own] = 0
            rows[own, :count] = said[:, place[items[own]]].T
            rows[np.ix_(own, np.flatnonzero(blank))] = 0
        yield rows
