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
from glta_cli.answers.question import Names, Question, names_in
from glta_cli.ranking.top_k import BLOCK
from glta_cli.serving.catalogue import Catalogue
from glta_cli.serving.choice import Choice
from glta_cli.serving.chosen_items import ChosenItems, chosen_items
from glta_cli.serving.guests import guests_of
from glta_cli.serving.index import Index
from glta_cli.serving.item_filter import ItemColumns
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
        self._last_chosen: tuple[Any, ChosenItems | None] | None = None

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

    @cached_property
    def item_columns(self) -> ItemColumns:
        """The further columns of its items, to choose by."""
        return ItemColumns(self.index)

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
            the history's latest item first, at most ten. Where items are chosen also `among`, how many there are to
            answer with, and `remarks`, sentences on names that no item has.

        Raises:
            InputError: the user, an item or the row is unknown, k is less than 1, or no item is left to answer.
            GltaError: the index is damaged.
        """
        return self.answers([question])[0]

    def answers(self, questions: Sequence[Question]) -> list[Answer]:
        """As many lists, in the order asked; those that rank by the same row are scored together."""
        found: dict[int, Answer] = {}
        alike: dict[Any, list[int]] = defaultdict(list)
        for place, question in enumerate(questions):
            require_count(question.k)
            question.require_somebody()
            alike[_ranked_by(question)].append(place)
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
        users: Iterable[str | int],
        k: int = 10,
        *,
        model: str | None = None,
        include_seen: bool = False,
        only: Names | None = None,
        without: Names = (),
        where: Names = (),
    ) -> pl.DataFrame:
        """The k best items of each user: a frame of `user`, `rank`, `item`, `title` and `score`.

        Args:
            only: ids or titles of the only items to answer.
            without: those of items that are not to be answered.
            where: conditions on columns of the items, such as `category=shoes`, all of which hold.

        Raises:
            InputError: a user or the row is unknown, k is less than 1, or no item is left to answer.
        """
        alike = Question("", k=k, model=model, include_seen=include_seen, **_chosen_by(only, without, where))
        asked = [replace(alike, user=str(user)) for user in users]
        return _frame([entry for answer in self.answers(asked) for entry in _rows_of(answer, user=answer["user"])])

    def recommend_for(
        self,
        history: Iterable[str],
        k: int = 10,
        *,
        model: str | None = None,
        include_seen: bool = False,
        only: Names | None = None,
        without: Names = (),
        where: Names = (),
    ) -> pl.DataFrame:
        """The k best items of somebody who is in no file: a frame of `rank`, `item`, `title` and `score`.

        Args:
            history: ids or titles, oldest first.
            only, without, where: as of `recommend`.

        Raises:
            InputError: an item or the row is unknown, k is less than 1, or no item is left to answer.
        """
        chosen_by = _chosen_by(only, without, where)
        asked = Question(history=tuple(history), k=k, model=model, include_seen=include_seen, **chosen_by)
        return _frame(_rows_of(self.answer(asked)))

    def _answered(self, alike: Sequence[Question]) -> list[Answer]:
        """The lists of questions that differ in the person alone."""
        first = alike[0]
        row = row_called(self.index, first.model)
        chosen = self._chosen(first)
        choice = Choice(None if chosen is None else chosen.allowed, first.include_seen)
        if first.history is None:
            users = [position_of(self.index, question.user or "", self._asked) for question in alike]
            found = answers_of_users(self.index, np.array(users), first.k, row, choice)
        else:
            histories = [self.catalogue.positions(question.history or (), "history") for question in alike]
            met = self.index.history
            guests = guests_of(histories, met.item_count, weighted=met.weights is not None)
            found = answers_of_guests(self.index, guests, first.k, row, choice)
        if chosen is None:
            return found
        return [{**answer, "among": chosen.count, "remarks": list(chosen.remarks)} for answer in found]

    def _chosen(self, question: Question) -> ChosenItems | None:
        """The items a question leaves; None for all. The last choice is kept: many questions come with the same."""
        key = question.only, question.without, question.where
        last = self._last_chosen  # another thread may put its own in the place meanwhile
        if last is None or last[0] != key:
            only, without, where = key
            last = key, chosen_items(self.catalogue, self.item_columns, only=only, without=without, where=where)
            self._last_chosen = last
        return last[1]


def _ranked_by(question: Question) -> tuple[bool, Question]:
    """What questions have in common that are scored together: all but the person."""
    return question.history is None, replace(question, user=None, history=None)


def _chosen_by(only: Names | None, without: Names, where: Names) -> dict[str, Any]:
    """The parts of a question that choose items."""
    named = None if only is None else names_in(only)
    return {"only": named, "without": names_in(without), "where": names_in(where)}


def _rows_of(answer: Answer, **also: Any) -> list[dict[str, Any]]:
    return [{**also, **entry} for entry in answer["recommendations"]]


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame(rows, infer_schema_length=None)
