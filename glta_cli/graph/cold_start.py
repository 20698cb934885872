"""Vectors of nodes no training has seen: of items from what is written about them, of both from whom they met.

Each is a linear map found by ridge regression among the nodes a training has seen. A map of mean squared error gives
the mean of the vectors such nodes have, and the score of a mean vector is the mean of their scores: it stays as long as
it comes out, shorter than those the map is sure of.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from glta_cli.graph.user_map import UserMap
from glta_cli.plugin.interactions import Interactions
from glta_cli.training.ridge import ridge_regression

Vectors = NDArray[np.float32]

# A linear map of a few hundred inputs is as good from as many nodes.
MOST_LEARNT = 100_000
# Users whom an item's text is worth.
WORTH_OF_A_TEXT = 5


def foretold(known_inputs: Vectors, known: Vectors, inputs: Vectors) -> Vectors:
    """What a linear map from inputs to vectors, found among known nodes, makes of others.

    Source: Gantner et al., Learning Attribute-to-Feature Mappings for Cold-Start Recommendations, ICDM 2010: here the
    attributes are the vectors of item texts, and the map is a ridge regression.

    Args:
        known_inputs: [n, D], of the known nodes.
        known: their vectors, [n, d].
        inputs: [m, D], of the others.

    Returns:
        [m, d].
    """
    weight, intercept = ridge_regression(torch.from_numpy(known_inputs), torch.from_numpy(known))
    found = torch.from_numpy(inputs).double() @ weight.T + intercept
    return found.float().numpy()


def with_unmet_foretold(items: Vectors, texts: Vectors | None, met: NDArray[np.bool_]) -> Vectors:
    """Item vectors, [I, d], in which those of items nobody met are foretold by their texts; without texts, the mean.

    Args:
        texts: vectors of the item texts, [I, D].
        met: which items anybody met, [I].
    """
    if met.all() or not met.any():
        return items
    result = items.copy()
    result[~met] = items[met].mean(axis=0) if texts is None else foretold(texts[met], items[met], texts[~met])
    return result


def with_new_users(users: Vectors, items: Vectors, history: Interactions) -> Vectors:
    """Vectors of all users of a history: those that are known, [U, d], and behind them the new ones.

    A new user's is what a linear map, found among known users, makes of the mean of its items' vectors. Where all known
    users have unit length it has, too; one without an item has the mean of all.

    Source: Paterek, Improving regularized singular value decomposition for collaborative filtering, KDD Cup 2007: a
    user is what the items it rated are.

    Args:
        items: of all items of the history, [I, d].
    """
    count = len(users)
    if history.user_count == count:
        return users
    means, met = _means(items, history)
    new = _map_from_items(users, means[:count], met[:count]).vectors_of(means[count:], met[count:])
    return np.concatenate([users, new]).astype(np.float32)


def with_unmet_users(users: Vectors, items: Vectors, history: Interactions, known: NDArray[np.bool_]) -> Vectors:
    """User vectors, [U, d], in which those no training has met follow from their items, as `with_new_users` has them.

    Args:
        items: of all items of the history, [I, d].
        known: which users a training has met, [U].
    """
    if known.all() or not known.any():
        return users
    means, met = _means(items, history)
    result = users.copy()
    result[~known] = _map_from_items(users[known], means[known], met[known]).vectors_of(means[~known], met[~known])
    return result


def user_map(users: Vectors, items: Vectors, history: Interactions) -> UserMap:
    """The map by which people no training has met follow from their items.

    Args:
        users: of the known ones, [U, d], who are the first of the history.
        items: of all items of the history, [I, d].
    """
    means, met = _means(items, history)
    return _map_from_items(users, means[: len(users)], met[: len(users)])


def users_of(found: UserMap, items: Vectors, history: Interactions) -> Vectors:
    """Vectors of people no training has met, by their histories, float32 [B, d]; `items`: of all items, [I, d]."""
    return found.vectors_of(*_means(items, history))


def _map_from_items(users: Vectors, means: Vectors, met: NDArray[np.bool_]) -> UserMap:
    """The map found among n known users.

    Args:
        users: [n, d].
        means: of the vectors of each one's items, [n, d]; `met` says who has any, [n].
    """
    learnt = np.flatnonzero(met)[:MOST_LEARNT]
    mean = users.mean(axis=0)
    if len(learnt):
        found = ridge_regression(torch.from_numpy(means[learnt]), torch.from_numpy(users[learnt]))
        weight, intercept = (each.numpy() for each in found)
    else:
        weight, intercept = np.zeros((len(mean), len(mean))), mean.astype(np.float64)
    return UserMap(weight, intercept, mean, bool(np.allclose(np.linalg.norm(users, axis=1), 1, atol=1e-3)))


def with_new_items(items: Vectors, texts: Vectors | None, count: int, met: NDArray[np.bool_]) -> Vectors:
    """Vectors of all items: those that are known, [I, d], and behind them what the texts of the others foretell.

    What stands for an item nobody met has learnt nothing, and teaches nothing.

    Args:
        texts: vectors of all item texts, [I', D]; None where there are none: then a new item is as the mean of all.
        count: I', of all items.
        met: which of the known ones anybody had met when they were learnt, [I]; where none is, all count.
    """
    new = count - len(items)
    if not new:
        return items
    learnt = np.flatnonzero(met) if met.any() else np.arange(len(items))
    if texts is None:
        return np.concatenate([items, np.tile(items[learnt].mean(axis=0), (new, 1))])
    return np.concatenate([items, foretold(texts[learnt], items[learnt], texts[len(items) :])])


def with_met_items(items: Vectors, known: NDArray[np.bool_], users: Vectors, history: Interactions) -> Vectors:
    """Item vectors, [I, d], in which those that are not known go by who met them, the more the more did.

    What a linear map, found among known items, makes of the mean of an item's users stands beside what its text
    foretold, which counts as `WORTH_OF_A_TEXT` users do.

    Source: Bell and Koren, Scalable Collaborative Filtering with Jointly Derived Neighborhood Interpolation Weights,
    ICDM 2007, section 3: estimates of few observations shrink towards what is known without them.

    Args:
        known: which items have a vector that knows who met them, [I].
        users: of all users of the history, [U, d].
    """
    means, met = _means(users, _by_item(history))
    learnt, new = np.flatnonzero(met & known)[:MOST_LEARNT], np.flatnonzero(met & ~known)
    if not len(new) or not len(learnt):
        return items
    seen = np.bincount(history.items, minlength=len(items))[new][:, None]
    told = foretold(means[learnt], items[learnt], means[new])
    result = items.copy()
    result[new] = (seen * told + WORTH_OF_A_TEXT * items[new]) / (seen + WORTH_OF_A_TEXT)
    return result


def _by_item(history: Interactions) -> Interactions:
    """Each item's users, as if items were the users."""
    return Interactions.from_pairs(
        history.items, history.users, user_count=history.item_count, item_count=history.user_count
    )


def _means(vectors: Vectors, history: Interactions) -> tuple[Vectors, NDArray[np.bool_]]:
    """The mean of the vectors of each user's items, [U, d], zeros where it has none; and who has any, [U]."""
    from scipy.sparse import csr_array

    shape = (history.user_count, history.item_count)
    edges = csr_array((np.ones(len(history), dtype=np.float32), history.items, history.indptr), shape=shape)
    counts = history.counts
    return np.asarray(edges @ vectors / np.maximum(counts, 1)[:, None], dtype=np.float32), counts > 0
