"""What can be asked: for whom, how many, and by what."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isfinite
from typing import Any, Final

from glta_cli.core.errors import InputError

WISH_WEIGHT: Final = 1.4
"""Of a wish where nobody says: chosen on held-out items of amazon-scientific-2018 (recipes/README.md)."""


@dataclass(frozen=True)
class Question:
    """A list for one person, known or new.

    Attributes:
        user: the id of somebody in the log; None for somebody who is in no file.
        history: what such a person has met, ids or titles, oldest first; None for a user of the log.
        k: how many items.
        model: the row to rank by, by its name; None for the one that validation found best.
        include_seen: whether items of the history may be answered.
        deep: whether a history is read by the models that were trained, as a user's of the log was, instead of answered
            at once from the index.
        wish: words for what is wanted, which count beside the person.
        wish_weight: of the wish beside the person's own scores, both standardised over the catalogue.
    """

    user: str | None = None
    history: tuple[str, ...] | None = None
    k: int = 10
    model: str | None = None
    include_seen: bool = False
    deep: bool = False
    wish: str | None = None
    wish_weight: float = WISH_WEIGHT

    @property
    def choosing(self) -> tuple[Any, ...]:
        """All of it but the person: questions that agree in this are answered together."""
        return tuple(getattr(self, each.name) for each in fields(self) if each.name not in ("user", "history"))

    def require_somebody(self) -> None:
        """Raise `InputError` unless one person is asked for, by an id or by a history of something, or a wish alone."""
        if self.user is not None and self.history is not None:
            raise InputError("a user has a history already", location="history", hint="name a user or a history")
        if self.deep and self.user is not None:
            problem = "a user of the log was read when the index was made"
            raise InputError(problem, location="deep", hint="it is for the history of somebody who is in no file")
        if self.wish_weight < 0 or not isfinite(self.wish_weight):
            raise InputError(f"{self.wish_weight} is no weight", location="wish_weight", hint="take 0 or more")
        if self.wish is not None and not self.wish.strip():
            raise InputError("says nothing", location="wish", hint="say in words what is wanted")
        if self.wish is not None:
            return
        if self.user is None and self.history is None:
            hint = "name a user of the log, or the history of somebody who is new"
            raise InputError("nobody is asked for", location="user", hint=hint)
        if self.history is not None and not self.history:
            raise InputError("it names no item", location="history", hint="name ids or titles, oldest first")
