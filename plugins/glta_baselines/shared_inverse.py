"""The inverse of a log's Gram matrix, which rows of the same log share in the process."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b

from glta_baselines.ridge_inverse import RidgeInverse
from glta_cli.plugin import Interactions


@dataclass(frozen=True, eq=False)
class Shared:
    """The inverse of one log.

    Attributes:
        log: its interactions, held weakly: who lets them go lets the inverse go.
        content: what they say, by which another object of the same log is known.
    """

    log: weakref.ref[Interactions]
    content: bytes
    inverse: RidgeInverse


# One at a time: it takes 8 bytes a pair of items.
_shared: Shared | None = None


def shared_inverse(train: Interactions, make: Callable[[], RidgeInverse]) -> RidgeInverse:
    """The inverse that rows of this log share; one of another log is let go before it is made.

    Args:
        train: as long as it is held, so is the inverse.
    """
    global _shared
    content = content_of(train)
    if _shared is None or _shared.content != content:
        release_inverse()
        inverse = make()
    else:
        inverse = _shared.inverse
    _shared = Shared(weakref.ref(train, _forget), content, inverse)
    return inverse


def release_inverse() -> None:
    """Let the shared inverse go, for what needs the memory."""
    global _shared
    _shared = None


def content_of(interactions: Interactions) -> bytes:
    """A digest of who met what, and of what it counts for."""
    digest = blake2b(f"{interactions.user_count} {interactions.item_count} {len(interactions)}".encode())
    for array in (interactions.indptr, interactions.items, interactions.weights):
        digest.update(b"" if array is None else array.tobytes())
    return digest.digest()


def _forget(log: weakref.ref[Interactions]) -> None:
    if _shared is not None and _shared.log is log:
        release_inverse()
