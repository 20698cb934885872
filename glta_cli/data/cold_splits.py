"""Splits for cold start: a share of the items, or of the users, is hidden from everything that is learnt.

Half of those hidden are for choosing and half for the test, as `validation` and `test` say. The interactions of the
others, the warm ones, are divided like those of any split by ratio, so that a row can be measured on both at once.

Source: the protocol of ColdRec (github.com/YuanchenBei/ColdRec, data/split.py), where cold users have no history: here
they have one, and are folded in, as in Liang et al., Variational Autoencoders for Collaborative Filtering, WWW 2018,
section 4.1.
"""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.errors import InputError
from glta_cli.data.draws import mixed, random_rank, rounded, split_by_ratio
from glta_cli.data.parts import HISTORY, TEST, TRAIN, VALID
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.schema import SplitSettings

# Of a hidden user's items, those to be found; the others are what is known of the user.
TARGET_SHARE: Final = 0.2
# One to choose by, one to test, and one to learn from.
FEWEST_TO_HIDE: Final = 3

Hidden = Literal["items", "users"]


def hidden_items(interactions: Interactions, settings: SplitSettings) -> NDArray[np.int8]:
    """Which items are hidden: VALID and TEST of the shares of those anybody met, TRAIN of the others; int8 [I].

    Raises:
        InputError: too few items were met.
    """
    met = np.bincount(interactions.items, minlength=interactions.item_count) > 0
    return _drawn(met, settings, "items", purpose=3)


def hidden_users(interactions: Interactions, settings: SplitSettings) -> NDArray[np.int8]:
    """Which users are hidden, as `hidden_items` says of items, of those with two items at least; int8 [U].

    Raises:
        InputError: too few users have a history and something to find.
    """
    return _drawn(interactions.counts >= 2, settings, "users", purpose=6)


def split_cold_items(interactions: Interactions, settings: SplitSettings) -> NDArray[np.int8]:
    """A hidden item's interactions are all for validation or all for the test; the others are divided by ratio.

    Returns:
        int8 [n], along `interactions.items`.
    """
    assigned = hidden_items(interactions, settings)[interactions.items]
    warm = assigned == TRAIN
    assigned[warm] = split_by_ratio(interactions.where(warm), settings.validation, settings.test, settings.seed)
    return assigned


def split_cold_users(interactions: Interactions, settings: SplitSettings) -> NDArray[np.int8]:
    """A hidden user's items are its history but for a fifth, drawn at random, one at least; others by ratio.

    Returns:
        int8 [n], along `interactions.items`, with HISTORY for what is known of hidden users.
    """
    hidden = hidden_users(interactions, settings)
    assigned = hidden[interactions.users]
    warm = assigned == TRAIN
    cold = interactions.where(~warm)
    targets = np.clip(rounded(TARGET_SHARE, cold.counts), 1, np.maximum(cold.counts - 1, 1))
    known = random_rank(cold, settings.seed, purpose=5) >= targets[cold.users]
    assigned[np.flatnonzero(~warm)[known]] = HISTORY
    assigned[warm] = split_by_ratio(interactions.where(warm), settings.validation, settings.test, settings.seed)
    return assigned


def _drawn(eligible: NDArray[np.bool_], settings: SplitSettings, kind: Hidden, purpose: int) -> NDArray[np.int8]:
    """Of those eligible, the first of a random order are TEST, the next VALID; all others TRAIN."""
    candidates = np.flatnonzero(eligible)
    if len(candidates) < FEWEST_TO_HIDE:
        raise InputError(
            f"the split '{settings.strategy}' hides {kind}, and there are {len(candidates)} it could hide",
            location="dataset.split.strategy",
            hint="use --set dataset.split.strategy=ratio",
        )
    counts = np.array(len(candidates))
    tests = int(np.clip(rounded(settings.test, counts), 1, len(candidates) - 2))
    valids = int(np.clip(rounded(settings.validation, counts), 1, len(candidates) - 1 - tests))
    # By a hash of each place, as interactions are: what is drawn of one does not depend on how many there are.
    keys = mixed(mixed(mixed(np.uint64(settings.seed)) + np.uint64(purpose)) + candidates.astype(np.uint64))
    order = candidates[np.argsort(keys)]
    hidden = np.full(len(eligible), TRAIN, dtype=np.int8)
    hidden[order[:tests]] = TEST
    hidden[order[tests : tests + valids]] = VALID
    return hidden
