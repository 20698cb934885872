"""Histories as rows of item indices, as a sequence encoder reads them, and what it makes of each user's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from glta_cli.plugin.interactions import Interactions

# What stands where a shorter history than the row's longest has no item.
PADDING = -1
# Histories encoded at once.
ENCODED_TOGETHER = 512


@dataclass(frozen=True)
class Stretches:
    """Items that follow each other in users' histories, by their places in `Interactions.items`.

    Attributes:
        ends: the place behind the last of each, int64 [n].
        lengths: items of each, int64 [n].
    """

    ends: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ends)

    def at(self, chosen: NDArray[np.int64]) -> Stretches:
        """Those at these places [m], in that order."""
        return Stretches(self.ends[chosen], self.lengths[chosen])

    def earlier(self) -> Stretches:
        """The same, an item earlier: of the last ones of each, what stands before them."""
        return Stretches(self.ends - 1, self.lengths)

    def rows(self, along: NDArray[Any], padding: Any = PADDING) -> NDArray[Any]:
        """Values that stand along `Interactions.items`, as rows [n, L] with the newest last and padding on the left.

        L is the length of the longest stretch.
        """
        longest = int(self.lengths.max(initial=0))
        columns = np.arange(longest) - longest  # from -L to -1
        held = columns >= -self.lengths[:, None]  # [n, L]
        places = np.where(held, self.ends[:, None] + columns, 0)
        return np.where(held, along[places], np.asarray(padding, dtype=along.dtype))


def reads_histories(encoder: nn.Module) -> bool:
    """Whether it is a sequence encoder; else it is one of graphs."""
    return bool(getattr(encoder, "reads_histories", False))


def next_items(interactions: Interactions, longest: int) -> Stretches:
    """Every item that follows another one of its user, in stretches of at most `longest`, each item in one.

    They are cut from a history's newest end: what is left over stands at its beginning. The inputs that the items of a
    stretch are predicted from are `earlier()`.
    """
    predicted = np.maximum(interactions.counts - 1, 0)  # [U]; nothing stands before the first
    stretches = -(-predicted // longest)  # [U]
    users = np.repeat(np.arange(interactions.user_count), stretches)
    newer = longest * (np.arange(len(users)) - np.repeat(np.cumsum(stretches) - stretches, stretches))
    return Stretches(interactions.indptr[users + 1] - newer, np.minimum(predicted[users] - newer, longest))


def newest_items(interactions: Interactions, users: NDArray[np.int64], longest: int) -> Stretches:
    """The newest items of users [n], at most `longest` of each."""
    return Stretches(interactions.indptr[users + 1], np.minimum(interactions.counts[users], longest))


def user_states(encoder: Any, histories: Interactions, users: NDArray[np.int64] | None = None) -> Tensor:
    """The state of a sequence encoder at the newest item of each user: float32 [U, d].

    Args:
        users: those wanted; None for everyone. The rows of others, and of users without an item, are zeros.
    """
    counts = histories.counts
    known = np.flatnonzero(counts) if users is None else users[counts[users] > 0]
    # Of about equal length, as padding takes as long as items do.
    known = known[np.argsort(counts[known], kind="stable")]
    longest = encoder.longest_history()
    items = encoder.items()
    states = items.new_zeros(histories.user_count, items.shape[1])  # [U, d]
    for start in range(0, len(known), ENCODED_TOGETHER):
        together = known[start : start + ENCODED_TOGETHER]
        rows = newest_items(histories, together, longest).rows(histories.items)  # [B, L]
        encoded = encoder.encode(torch.from_numpy(rows).to(items.device))  # [B, L, d]
        states[torch.from_numpy(together).to(items.device)] = encoded[:, -1]
    return states
