"""What one request, and all of them together, may ask of the service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MOST_ITEMS: Final = 1_000
"""Items of one answer, `k`."""

LONGEST_HISTORY: Final = 1_000
"""Items of a history somebody sends."""

MOST_CHOSEN: Final = 10_000
"""Items named in `only` or in `except`."""

MOST_CONDITIONS: Final = 20
"""Conditions of one request, `where`."""

LONGEST_ID: Final = 1_000
"""Characters of an id, a title, a condition or the name of a row."""

LONGEST_WISH: Final = 2_000
"""Characters of a wish, and of what items are searched by."""


@dataclass(frozen=True)
class Limits:
    """What depends on the machine and on who asks.

    Attributes:
        requests: that are worked on at once; further ones are refused with 503.
        body_bytes: of the body of a request.
        receive_seconds: until a request has to be there, its head and its body each.
        language_waiting: requests that wait for the language model; further ones are refused with 503.
        language_batch: requests that the language model answers at once.
        language_gather_seconds: how long the first of them waits for others.
        batch: requests answered at once without the language model.
        grace_seconds: between the signal to stop, from which on `/ready` refuses, and the last request taken.
        drain_seconds: how long requests that were taken may last after that.
    """

    requests: int = 256
    body_bytes: int = 1 << 20
    receive_seconds: float = 10.0
    language_waiting: int = 64
    language_batch: int = 16
    language_gather_seconds: float = 0.005
    batch: int = 64
    grace_seconds: float = 1.0
    drain_seconds: float = 30.0
