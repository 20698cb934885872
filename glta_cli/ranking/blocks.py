"""How many scores are held at once while a catalogue is ranked: memory by a setting, whatever the users and items."""

from __future__ import annotations

import os
from typing import Final

from glta_cli.core.errors import InputError

SETTING: Final = "GLTA_SCORES_MIB"
"""The environment variable that names the MiB of scores held at once."""

# Of float32, 128 users of 131,072 items. What finds the best of them takes about as much again.
USUAL_MIB: Final = 64
# Users a block: enough for a full-speed matrix product, few enough that their scores stay near the cache and, up to
# some 65,000 items (32 MiB), below the size at which the allocator would fetch fresh pages for every block.
BLOCK: Final = 128
# Items a block at least: below, more time goes into the selection than into the scores.
LEAST_ITEMS: Final = 4096


def scores_at_once() -> int:
    """The float32 scores that are held at once.

    Raises:
        InputError: the environment names no whole number of MiB above 0.
    """
    given = os.environ.get(SETTING, "")
    if not given:
        return USUAL_MIB * (1 << 18)
    if not given.isdecimal() or int(given) < 1:
        raise InputError(
            f"'{given}' is no whole number of MiB above 0", location=SETTING, hint=f"{SETTING}={USUAL_MIB}"
        )
    return int(given) * (1 << 18)


def users_at_once(item_count: int) -> int:
    """How many users' scores of so many items are held at once: up to 128, one at least."""
    return max(1, min(BLOCK, scores_at_once() // max(1, item_count)))


def items_at_once(user_count: int) -> int:
    """How many items are scored at once for so many users."""
    return max(LEAST_ITEMS, scores_at_once() // max(1, user_count))
