"""What can be asked: for whom, how many, and by what."""

from __future__ import annotations

from dataclasses import dataclass

from glta_cli.core.errors import InputError


@dataclass(frozen=True)
class Question:
    """A list for one person, known or new.

    Attributes:
        user: the id of somebody in the log; None for somebody who is in no file.
        history: what such a person has met, ids or titles, oldest first; None for a user of the log.
        k: how many items.
        model: the row to rank by, by its name; None for the one that validation found best.
        include_seen: whether items of the history may be answered.
    """

    user: str | None = None
    history: tuple[str, ...] | None = None
    k: int = 10
    model: str | None = None
    include_seen: bool = False

    def require_somebody(self) -> None:
        """Raise `InputError` unless one person is asked for, by an id or by a history of something."""
        if self.user is not None and self.history is not None:
            raise InputError("a user has a history already", location="history", hint="name a user or a history")
        if self.user is None and self.history is None:
            hint = "name a user of the log, or the history of somebody who is new"
            raise InputError("nobody is asked for", location="user", hint=hint)
        if self.history is not None and not self.history:
            raise InputError("it names no item", location="history", hint="name ids or titles, oldest first")
