"""What can be asked: for whom, how many, and by what."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any, Final, TypedDict, Unpack

from glta_cli.answers.history_entries import Entry
from glta_cli.core.errors import InputError
from glta_cli.serving.conditions import conditions_of

Names = str | int | Iterable[str | int]
"""One name or several."""

WISH_WEIGHT: Final = 1.4
"""Of a wish where nobody says: chosen on held-out items of amazon-scientific-2018 (recipes/results/PARTS.md)."""


class Options(TypedDict, total=False):
    """All of a question but the person and how many, as Python programs give it; each is described at `Question`."""

    model: str | None
    include_seen: bool
    only: Names | None
    without: Names
    where: Names
    diversity: float
    because: bool
    deep: bool
    wish: str | None
    wish_weight: float


@dataclass(frozen=True)
class Question:
    """A list for one person, known or new.

    Attributes:
        user: the id of somebody in the log; None for somebody who is in no file.
        history: what such a person has met, ids or titles, oldest first, each with its event of the log where one is
            named (`history_entries.Entry`); None for a user of the log.
        k: how many items.
        model: the row to rank by, by its name; None for the one that validation found best.
        include_seen: whether items of the history may be answered.
        only: ids or titles of the only items that may be answered; None for all.
        without: ids or titles of items that are not answered.
        where: conditions on columns of the items, such as `category=shoes` or `brand=Acme or price<20`; all hold.
        diversity: λ of maximal marginal relevance, 0..1: how much an item that is like those above it loses.
        because: whether each recommendation is to have its reasons.
        deep: whether histories are read by the models that were trained, as those of users of the log were, instead of
            answered at once from the index.
        wish: words for what is wanted, which count beside the person.
        wish_weight: of the wish beside the person's own scores, both standardised over the catalogue.
    """

    user: str | None = None
    history: tuple[Entry, ...] | None = None
    k: int = 10
    model: str | None = None
    include_seen: bool = False
    only: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    diversity: float = 0.0
    because: bool = False
    deep: bool = False
    wish: str | None = None
    wish_weight: float = WISH_WEIGHT

    @property
    def choosing(self) -> tuple[Any, ...]:
        """All of it but the person and the words of a wish: questions that agree in this are answered together."""
        own = ("user", "history", "wish")
        return self.wish is None, *(getattr(self, each.name) for each in fields(self) if each.name not in own)

    def require_sense(self) -> None:
        """Raise `InputError` where one part of it contradicts another or says nothing, whatever the index holds."""
        if not 0 <= self.diversity <= 1:  # false of NaN, too
            hint = "0 ranks by score alone, 1 by how little an item is like those above it; try 0.3"
            raise InputError(f"{self.diversity} is not between 0 and 1", location="diversity", hint=hint)
        if self.deep and self.user is not None and not self.because:
            problem = "a user of the log was read when the index was made"
            raise InputError(problem, location="deep", hint="it is for the history of somebody who is in no file")
        if self.wish_weight < 0 or not isfinite(self.wish_weight):
            raise InputError(f"{self.wish_weight} is no weight", location="wish_weight", hint="take 0 or more")
        if self.wish is None and self.wish_weight != WISH_WEIGHT:
            hint = "say in words what is wanted, too"
            raise InputError("it weighs a wish, and there is none", location="wish_weight", hint=hint)
        if self.wish is not None and not self.wish.strip():
            raise InputError("says nothing", location="wish", hint="say in words what is wanted")
        for text in self.where:
            conditions_of(text)

    def require_somebody(self) -> None:
        """Raise `InputError` unless one person is asked for, by an id or by a history of something, or a wish alone."""
        if self.user is not None and self.history is not None:
            raise InputError("a user has a history already", location="history", hint="name a user or a history")
        if self.wish is None and self.user is None and self.history is None:
            hint = "name a user of the log, or the history of somebody who is new"
            raise InputError("nobody is asked for", location="user", hint=hint)
        if self.wish is None and self.history is not None and not self.history:
            raise InputError("it names no item", location="history", hint="name ids or titles, oldest first")


def question_with(k: int, items_in: Callable[[Names, str], tuple[str, ...]], **options: Unpack[Options]) -> Question:
    """The question of such options, of nobody yet.

    Args:
        items_in: the names of items that an option of that name gives.
    """
    named: dict[str, Any] = dict(options)
    for name in ("only", "without"):
        if named.get(name) is not None:
            named[name] = items_in(named[name], name)
    if named.get("where") is not None:
        named["where"] = names_in(named["where"])
    return Question(k=k, **named)


def names_in(names: Names) -> tuple[str, ...]:
    """Several names as text, of which one that stands alone is no list of its letters."""
    return (str(names),) if isinstance(names, str | int) or not isinstance(names, Iterable) else tuple(map(str, names))
