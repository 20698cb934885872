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
from glta_cli.answers.question import WISH_WEIGHT, Question
from glta_cli.answers.readers import NOT_READ, Readers
from glta_cli.plugin.interactions import Interactions
from glta_cli.ranking.top_k import BLOCK
from glta_cli.serving.catalogue import Catalogue
from glta_cli.serving.choice import Choice
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
        readers: the models it was trained to, for deep answers and wishes; loaded, torch too, when first asked.
    """

    def __init__(self, asked: AskedRun, artefact: Artefact, device: str | None = None) -> None:
        self.name, self.dataset = asked.name, asked.dataset
        self.artefact = artefact
        self.readers = Readers(asked.name, artefact, device)
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
            the history's latest item first, at most ten.

        Raises:
            InputError: the user, an item or the row is unknown, or k is less than 1.
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
            alike[question.user is None, *question.choosing].append(place)
        for places in alike.values():
            for start in range(0, len(places), BLOCK):
                block = places[start : start + BLOCK]
                asked = [questions[place] for place in block]
                found |= zip(block, self._answered(asked), strict=True)
        said = {"run": self.name, "dataset": self.dataset, **self.known}
        return [{"user": question.user, **said, **found[place]} for place, question in enumerate(questions)]

    def recommend(
        self,
        users: Iterable[str | int],
        k: int = 10,
        *,
        model: str | None = None,
        include_seen: bool = False,
        wish: str | None = None,
        wish_weight: float = WISH_WEIGHT,
    ) -> pl.DataFrame:
        """The k best items of each user: a frame of `user`, `rank`, `item`, `title` and `score`.

        Args:
            model, include_seen, wish, wish_weight: as those of a `Question`.

        Raises:
            InputError: a user or the row is unknown, k is less than 1, or the run has nothing to read a wish with.
        """
        choosing = Question(k=k, model=model, include_seen=include_seen, wish=wish, wish_weight=wish_weight)
        asked = [replace(choosing, user=str(user)) for user in users]
        return _frame([entry for answer in self.answers(asked) for entry in _rows_of(answer, user=answer["user"])])

    def recommend_for(
        self,
        history: Iterable[str],
        k: int = 10,
        *,
        model: str | None = None,
        include_seen: bool = False,
        deep: bool = False,
        wish: str | None = None,
        wish_weight: float = WISH_WEIGHT,
    ) -> pl.DataFrame:
        """The k best items of somebody who is in no file: a frame of `rank`, `item`, `title` and `score`.

        Args:
            history: ids or titles, oldest first.
            model, include_seen, deep, wish, wish_weight: as those of a `Question`.

        Raises:
            InputError: an item or the row is unknown, k is less than 1, or the run has nothing to read with.
        """
        asked = Question(
            None,
            tuple(history),
            k,
            model=model,
            include_seen=include_seen,
            deep=deep,
            wish=wish,
            wish_weight=wish_weight,
        )
        return _frame(_rows_of(self.answer(asked)))

    def _answered(self, alike: Sequence[Question]) -> list[Answer]:
        """The lists of questions that differ in the person alone."""
        first = alike[0]
        # Whoever cannot be answered is told before a model is loaded.
        with reading(self.artefact):
            row = row_called(self.index, first.model)
            guests = self._guests(alike) if first.user is None else None
            users = [position_of(self.index, each.user, self._asked) for each in alike if each.user is not None]
        liking = None if first.wish is None else self.readers.liking(first.wish)
        choice = Choice(include_seen=first.include_seen, liking=liking, liking_weight=first.wish_weight)
        read = self.readers.people(row, guests) if first.deep and guests is not None else NOT_READ
        with reading(self.artefact):
            if guests is None:
                found = answers_of_users(self.index, np.array(users), first.k, row, choice)
            else:
                found = answers_of_guests(
                    self.index, guests, first.k, row, choice, read.language_rows, read.graph_users
                )
        if first.wish is None:
            return found
        return [{**answer, "wish": first.wish, "wish_weight": first.wish_weight} for answer in found]

    def _guests(self, asked: Sequence[Question]) -> Interactions:
        """The histories of people who are in no file; of who only wishes for something, none."""
        histories = [self.catalogue.positions(question.history or (), "history") for question in asked]
        met = self.index.history
        return guests_of(histories, met.item_count, weighted=met.weights is not None)


def _rows_of(answer: Answer, **also: Any) -> list[dict[str, Any]]:
    return [{**also, **entry} for entry in answer["recommendations"]]


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame(rows, infer_schema_length=None)
