"""The one ranking function: exact top-k over the whole catalogue, seen items masked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.errors import GltaError
from glta_cli.core.progress import progress_bar
from glta_cli.core.world import team
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.scorer import ProductScorer, Scorer
from glta_cli.ranking.blocks import BLOCK as BLOCK
from glta_cli.ranking.blocks import items_at_once, users_at_once

# Items a group: their maximum decides whether any of them is looked at.
GROUP = 16
# Groups a row may gather, as a multiple of k: without ties k reach the threshold.
CROWD = 2


def top_k(scores: NDArray[np.floating], k: int) -> NDArray[np.int64]:
    """The k best columns of each row [B, I] -> [B, min(k, I)]: score descending, then column ascending.

    Columns are grouped, and the k-th largest group maximum is a threshold: k groups reach it, so at least k scores
    do, and the k best scores stand in groups that reach it. Nothing is selected from the other groups. Scores above
    the threshold stand in fewer than k groups; where ties let many more groups reach it, as in a constant row or one
    with fewer than k finite scores, only the first k of the scores equal to it are candidates.

    Raises:
        GltaError: a score is NaN.
    """
    rows, columns = scores.shape
    k = min(k, columns)
    if rows == 0 or k == 0:
        return np.empty((rows, k), dtype=np.int64)
    size = max(1, min(GROUP, columns // (4 * k)))
    groups = -(-columns // size)
    maxima = group_maxima(scores, groups)  # [B, groups]
    if np.isnan(maxima).any():  # a NaN is the maximum of its group
        raise GltaError("a score is NaN, so there is no ranking", hint="the model diverged: lower its learning rate")
    threshold = np.partition(maxima, groups - k, axis=1)[:, groups - k]  # [B]
    reached = maxima >= threshold[:, None]  # [B, groups]
    tied = np.flatnonzero(np.count_nonzero(reached, axis=1) > CROWD * k)
    reached[tied] = False
    row, group = np.divmod(np.flatnonzero(reached), groups)  # [n] each
    members = group[:, None] + groups * np.arange(size)  # [n, size]; the last of a group may lie beyond the catalogue
    values = scores[row[:, None], np.minimum(members, columns - 1)]
    kept = np.nonzero((values >= threshold[row, None]) & (members < columns))
    found = [first_candidates(scores[each], threshold[each], k) for each in tied]
    row = np.concatenate([row[kept[0]], np.repeat(tied, [len(each) for each in found])])
    column = np.concatenate([members[kept], *found])
    order = np.lexsort((column, -scores[row, column], row))
    first = np.searchsorted(row[order], np.arange(rows))
    best: NDArray[np.int64] = column[order[first[:, None] + np.arange(k)]]
    return best


def first_candidates(scores: NDArray[np.floating], threshold: np.floating, k: int) -> NDArray[np.int64]:
    """The columns of one row [I] above the threshold, and the first k of those equal to it."""
    return np.concatenate([np.flatnonzero(scores > threshold), np.flatnonzero(scores == threshold)[:k]])


def group_maxima(scores: NDArray[np.floating], groups: int) -> NDArray[np.floating]:
    """The maximum of columns g, g + groups, g + 2·groups, ... of each row: [B, I] -> [B, groups]."""
    rows, columns = scores.shape
    # Neighbouring columns belong to neighbouring groups, so that one vector instruction serves many groups.
    whole = columns // groups * groups
    maxima: NDArray[np.floating] = np.maximum.reduce(scores[:, :whole].reshape(rows, -1, groups), axis=1)
    rest = columns - whole
    np.maximum(maxima[:, :rest], scores[:, whole:], out=maxima[:, :rest])
    return maxima


def mask_seen(scores: NDArray[np.float32], users: NDArray[np.int64], *seen: Interactions) -> None:
    """Set the scores [B, I] of items that stand in any of `seen` to minus infinity, in place."""
    for interactions in seen:
        scores[_met_by(users, interactions)] = -np.inf


def _met_by(users: NDArray[np.int64], interactions: Interactions) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The places of users among those given, and the items each has, [n] twice."""
    lengths = interactions.indptr[users + 1] - interactions.indptr[users]
    rows = np.repeat(np.arange(len(users)), lengths)
    starts = np.repeat(interactions.indptr[users] - (np.cumsum(lengths) - lengths), lengths)
    return rows, interactions.items[starts + np.arange(len(rows))]


def rank_users(
    score: Scorer,
    users: NDArray[np.int64],
    k: int,
    *seen: Interactions,
    batch_size: int | None = None,
    description: str = "rank users",
) -> NDArray[np.int64]:
    """The k best unseen items of each user: [n] -> [n, min(k, I)]; [0, k] of no users, who are not scored.

    No more scores are held at once than `GLTA_SCORES_MIB` names: of large catalogues, inner products are ranked a block
    of items after the other, what else scores for fewer users at once. The ranking is exact either way.

    Where that lasts, a bar below the one of what they are ranked for counts them. Processes that work together rank a
    part of the users each, in the same batches, and get the lists of all.

    Args:
        batch_size: users scored at once; None for 128, or fewer of a large catalogue.

    Raises:
        InputError: the environment names no number of MiB.
        InterruptedRunError: SIGINT or SIGTERM arrived; what was ranked is lost.
    """
    if len(users) == 0:
        return np.empty((0, k), dtype=np.int64)
    in_blocks = isinstance(score, ProductScorer) and score.item_count > items_at_once(batch_size or BLOCK)
    if batch_size is None:
        batch_size = BLOCK if in_blocks or not seen else users_at_once(seen[0].item_count)
    us = team()
    own = users[us.share(len(users), batch_size)]
    ranked = [np.empty((0, k), dtype=np.int64)] if len(own) == 0 else []
    with progress_bar(len(users), description, "users", within_another=True, step="this batch of users") as bar:
        for start in range(0, len(own), batch_size):
            batch = own[start : start + batch_size]
            if in_blocks and isinstance(score, ProductScorer):
                ranked.append(_ranked_in_blocks(score, batch, k, seen, items_at_once(batch_size)))
            else:
                scores = score(batch)
                mask_seen(scores, batch, *seen)
                ranked.append(top_k(scores, k))
            bar.update(len(batch) * us.size)
    return us.joined(np.concatenate(ranked))


def _ranked_in_blocks(
    score: ProductScorer, users: NDArray[np.int64], k: int, seen: tuple[Interactions, ...], size: int
) -> NDArray[np.int64]:
    """The k best unseen items of users [B], the catalogue scored so many items at a time: [B, min(k, I)].

    The best so far stand before those of the next block, in the order of `top_k`, and so win ties as they do there.
    """
    items = np.empty((len(users), 0), dtype=np.int64)
    best = np.empty((len(users), 0), dtype=np.float32)
    met = [_met_by(users, interactions) for interactions in seen]
    for start in range(0, score.item_count, size):
        stop = min(start + size, score.item_count)
        scores = score.among(users, slice(start, stop))  # [B, n]
        for rows, columns in met:
            here = (columns >= start) & (columns < stop)
            scores[rows[here], columns[here] - start] = -np.inf
        found = top_k(scores, k)  # [B, k]
        items = np.concatenate([items, found + start], axis=1)  # [B, at most 2 k]
        best = np.concatenate([best, np.take_along_axis(scores, found, axis=1)], axis=1)
        kept = top_k(best, k)
        items, best = np.take_along_axis(items, kept, axis=1), np.take_along_axis(best, kept, axis=1)
    return items
