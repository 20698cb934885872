"""A published run, as a Python program asks it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glta_cli.answers.published import required_index
from glta_cli.answers.question import Question
from glta_cli.ranking.top_k import BLOCK
from glta_cli.serving.catalogue import Catalogue
from glta_cli.serving.choice import Choice
from glta_cli.serving.diversity import Diversity, require_diversity
from glta_cli.serving.guests import guests_of
from glta_cli.serving.index import Index
from glta_cli.serving.recommender import (
    Answer,
    AskedRun,
    answers_of_guests,
    answers_of_users,
    known_to,
    position_of,
    reading,
    require_count,
)
from glta_cli.serving.rows import row_called, rows_held
from glta_cli.workspace.artefact import Artefact

if TYPE_CHECKING:
    import polars as pl


class Run:
    """Answers from what a run published, mapped into memory: no training data is read, and torch is not imported.

    Example:
        import glta_cli

        run = glta_cli.load("shop")
        run.recommend(["C-1029"], k=5)  # a Polars frame: user, rank, item, title, score
        run.recommend_for(["A-653", "A-12"])  # somebody who is in no file

    Attributes:
        name: of the run.
        dataset: what it was prepared from.
    """

    def __init__(self, asked: AskedRun, artefact: Artefact) -> None:
        self.name, self.dataset = asked.name, asked.dataset
        self.artefact = artefact
        self._asked = asked

    @classmethod
    def load(cls, name: str | None = None, data_dir: str | Path | None = None) -> Run:
        """The run of that name, or the latest finished one.

        Args:
            data_dir: where datasets and runs live; None for GLTA_DATA_DIR, else the usual place.

        Raises:
            InputError: there is none, or it has published nothing to answer from.
            GltaError: its index is damaged.
        """
        return cls(*required_index(name, None if data_dir is None else Path(data_dir)))

    @cached_property
    def index(self) -> Index:
        """The index it answers from."""
        return Index(self.artefact)

    @cached_property
    def catalogue(self) -> Catalogue:
        """Its items by id and title."""
        return Catalogue(self.index)

    @property
    def rows(self) -> list[str]:
        """The names of the rows it can rank by, the one that validation found best first."""
        return list(rows_held(self.index))

    @cached_property
    def known(self) -> dict[str, Any]:
        """What it answers from: `interactions`, their number, `newest`, the day of the last, and `trained`."""
        return known_to(self.artefact)

    def answer(self, question: Question) -> Answer:
        """One list with all that is to be said of it, as plain values.

        Returns:
            `{"user", "run", "dataset", "interactions", "newest", "trained", "row", "terms": {row: weight},
            "answered_by", "history": [{"item", "title"}], "recommendations": [{"rank", "item", "title", "score"}]}`;
            the history's latest item first, at most ten. Asked `because`, each recommendation has its reasons, as
            `glta_cli.serving.reasons.Reasons.of` describes them.

        Raises:
            InputError: the user, an item or the row is unknown, k is less than 1, or the diversity no share.
            GltaError: the index is damaged.
        """
        return self.answers([question])[0]

    def answers(self, questions: Sequence[Question]) -> list[Answer]:
        """As many lists, in the order asked; those that rank by the same row are scored together."""
        found: dict[int, Answer] = {}
        alike: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for place, question in enumerate(questions):
            require_count(question.k)
            question.require_somebody()
            require_diversity(question.diversity, "diversity")
            person_aside = replace(question, user=None, history=None)
            alike[question.history is None, person_aside].append(place)
        for places in alike.values():
            for start in range(0, len(places), BLOCK):
                block = places[start : start + BLOCK]
                asked = [questions[place] for place in block]
                with reading(self.artefact):
                    found |= zip(block, self._answered(asked), strict=True)
        said = {"run": self.name, "dataset": self.dataset, **self.known}
        return [{"user": question.user, **said, **found[place]} for place, question in enumerate(questions)]

    def recommend(
        self,
        users: str | int | Iterable[str | int],
        k: int = 10,
        *,
        model: str | None = None,
        include_seen: bool = False,
        diversity: float = 0.0,
    ) -> pl.DataFrame:
        """The k best items of each user: a frame of `user`, `rank`, `item`, `title` and `score`.

        Raises:
            InputError: a user or the row is unknown, or k is less than 1.
        """
        alike = Question(k=k, model=model, include_seen=include_seen, diversity=diversity)
        asked = [replace(alike, user=user) for user in _named(users)]
        rows = [entry for answer in self.answers(asked) for entry in _rows_of(answer, user=answer["user"])]
        return _frame(rows, "user")

    def recommend_for(
        self,
        history: str | int | Iterable[str | int],
        k: int = 10,
        *,
        model: str | None = None,
        include_seen: bool = False,
        diversity: float = 0.0,
    ) -> pl.DataFrame:
        """The k best items of somebody who is in no file: a frame of `rank`, `item`, `title` and `score`.

        Args:
            history: ids or titles, oldest first.

        Raises:
            InputError: an item or the row is unknown, or k is less than 1.
        """
        asked = Question(None, _named(history), k, model, include_seen, diversity)
        return _frame(_rows_of(self.answer(asked)))

    def _answered(self, alike: Sequence[Question]) -> list[Answer]:
        """The lists of questions that differ in the person alone."""
        first = alike[0]
        row = row_called(self.index, first.model)
        diversity = Diversity(first.diversity, self.index.similarities) if first.diversity else None
        choice = Choice(include_seen=first.include_seen, diversity=diversity)
        if first.history is None:
            users = [position_of(self.index, question.user or "", self._asked) for question in alike]
            return answers_of_users(self.index, np.array(users), first.k, row, choice, because=first.because)
        histories = [self.catalogue.positions(question.history or (), "history") for question in alike]
        met = self.index.history
        guests = guests_of(histories, met.item_count, weighted=met.weights is not None)
        return answers_of_guests(self.index, guests, first.k, row, choice, because=first.because)


def _named(ids: str | int | Iterable[str | int]) -> tuple[str, ...]:
    """Ids as text; one that stands alone is no list of its letters."""
    return (str(ids),) if isinstance(ids, str | int | np.integer) else tuple(map(str, ids))


def _rows_of(answer: Answer, **also: Any) -> list[dict[str, Any]]:
    return [{**also, **entry} for entry in answer["recommendations"]]


def _frame(rows: list[dict[str, Any]], *also: str) -> pl.DataFrame:
    """Recommendations, below some columns of text: with its columns where there is none, too."""
    import polars as pl

    schema = {"rank": pl.Int64, "item": pl.String, "title": pl.String, "score": pl.Float64}
    return pl.DataFrame(rows, schema=dict.fromkeys(also, pl.String) | schema)
