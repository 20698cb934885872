"""A published run, as a Python program asks it."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import NDArray

from glta_cli.answers.frames import frame_of, rows_of
from glta_cli.answers.histories import Histories, ReadHistory
from glta_cli.answers.history_entries import Entry, History, entries_given
from glta_cli.answers.item_lists import names_given
from glta_cli.answers.published_run import PublishedRun
from glta_cli.answers.question import Names, Options, Question, names_in, question_with
from glta_cli.answers.readers import Readers
from glta_cli.core.counts import counted
from glta_cli.core.errors import GltaError, InputError
from glta_cli.plugin.interactions import Interactions
from glta_cli.ranking.top_k import BLOCK
from glta_cli.recipe.fused_terms import LINEAR
from glta_cli.serving.choice import Choice
from glta_cli.serving.chosen_items import ChosenItems, chosen_items
from glta_cli.serving.diversity import Diversity
from glta_cli.serving.guest_rows import Guests, guests_with_events
from glta_cli.serving.guests import NOT_READ, PeopleRead, ReadPeople
from glta_cli.serving.log_events import NO_EVENTS
from glta_cli.serving.recommender import (
    Answer,
    AskedRun,
    answers_of_guests,
    answers_of_users,
    positions_called,
    reading,
    require_count,
)
from glta_cli.serving.rows import row_called
from glta_cli.serving.served_row import ServedRow
from glta_cli.serving.similar import (
    COSINE,
    GRAPH,
    TEXT,
    TEXTS_ROW,
    Similar,
    is_the_mean,
    nearest,
    similar_items,
    why_nothing_is_like,
)
from glta_cli.workspace.artefact import Artefact

if TYPE_CHECKING:
    import polars as pl

    from glta_cli.stages.pipeline import Pipeline


class Run(PublishedRun):
    """Answers from what a run published, mapped into memory: no training data is read.

    Torch is imported where a question has the trained models read: `deep` and `wish`.

    Example:
        import glta_cli

        run = glta_cli.load("shop")
        run.recommend(["C-1029"], k=5)  # a Polars frame: user, rank, item, title, score
        run.recommend_for(["A-653", "A-12"])  # somebody who is in no file
        run.similar("A-653")

    Attributes:
        name: of the run.
        dataset: what it was prepared from.
        readers: the models it was trained to, loaded when they are first asked.
    """

    def __init__(
        self, asked: AskedRun, artefact: Artefact, device: str | None = None, *, made_by: Pipeline | None = None
    ) -> None:
        super().__init__(asked, artefact)
        self.readers = Readers(asked.name, artefact, device, made_by=made_by)
        self._last_chosen: tuple[Any, ChosenItems | None] | None = None

    def answer(self, question: Question) -> Answer:
        """One list with all that is to be said of it, as plain values.

        Returns:
            `{"user", "run", "dataset", "interactions", "newest", "trained", "row", "terms": {row: weight},
            "answered_by", "history": [{"item", "title"}], "recommendations": [{"rank", "item", "title", "score"}]}`;
            the history's latest item first, at most ten, and scores to four decimals. Asked `because`, each
            recommendation has its reasons, as `glta_cli.serving.reasons.Reasons.of` describes them. Where items are
            chosen also `among`, how many there are to answer with, `among_seen`, how many of them are left out as seen,
            and `remarks`, sentences on names that no item has; of a wish `wish` and `wish_weight`. `remarks` also says
            where the row tells nothing of the person, and popularity ranks in its place, and what of a history is left
            out for its event. An item of a history that names events has them, `events`.

        Raises:
            InputError: the user, an item or the row is unknown, k is less than 1, no item is left to answer, or the
                run has nothing to read with.
            GltaError: the index is damaged.
        """
        return self.answers([question])[0]

    def answers(self, questions: Sequence[Question]) -> list[Answer]:
        """As many lists, in the order asked; those that differ in the person or the wish alone are scored together."""
        found: dict[int, Answer] = {}
        alike: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for place, question in enumerate(questions):
            require_count(question.k)
            question.require_sense()
            question.require_somebody()
            alike[question.user is None, *question.choosing].append(place)
        for places in alike.values():
            for start in range(0, len(places), BLOCK):
                block = places[start : start + BLOCK]
                found |= zip(block, self._answered([questions[place] for place in block]), strict=True)
        said = {"run": self.name, "dataset": self.dataset, **self.known}
        return [{"user": question.user, **said, **found[place]} for place, question in enumerate(questions)]

    def tried(self, questions: Sequence[Question]) -> list[Answer | GltaError]:
        """As `answers`, but of a person who is not there the error stands in the place of the answer.

        Questions of strangers are answered together so: what is wrong with one is found once, and holds up no other.
        """
        found: list[Answer | GltaError] = []
        right: list[Question] = []
        for question in questions:
            try:
                with reading(self.artefact):
                    self._require_known(question)
            except GltaError as error:
                found.append(error)
            else:
                found.append({})
                right.append(question)
        answers = iter(self.answers(right))
        return [each if isinstance(each, GltaError) else next(answers) for each in found]

    def recommend(
        self, users: str | int | Iterable[str | int], k: int = 10, **options: Unpack[Options]
    ) -> pl.DataFrame:
        """The k best items of each user: a frame of `user`, `rank`, `item`, `title` and `score` to four decimals.

        Args:
            options: the other attributes of a `Question`, such as `model="ease"` or `where="category=shoes"`. With
                `because` the frame has a column of that name: of each item of the history `item`, `title` and `share`,
                its part of all that the history does to the score, what does most first; `answer` says more.

        Raises:
            InputError: as `answer`.
        """
        question = question_with(k, self.names_listed, **options)
        asked = [replace(question, user=user) for user in names_in(users)]
        answers = self.answers(asked)
        rows = [entry for answer in answers for entry in rows_of(answer, user=answer["user"])]
        self._warn_of(question, answers)
        return frame_of(rows, "user", because=question.because)

    def recommend_for(self, history: History, k: int = 10, **options: Unpack[Options]) -> pl.DataFrame:
        """The k best items of somebody who is in no file: a frame of `rank`, `item`, `title` and `score`.

        Args:
            history: ids or titles, oldest first: a list, or one text with commas between them. Where the log has
                events an entry may name one: `("A-653", "purchase")`, or `"A-653=purchase"`.
            options: as `recommend`, such as `deep=True`.

        Raises:
            InputError: as `answer`.
        """
        question = replace(question_with(k, self.names_listed, **options), history=self.history_listed(history))
        answer = self.answer(question)
        self._warn_of(question, [answer])
        return frame_of(rows_of(answer), because=question.because)

    def alike(self, item: str, k: int = 10, *, by: str | None = None, where: Names = ()) -> Answer:
        """The items most like one, with all that is to be said of them, as plain values.

        Args:
            item: its id or title.
            by: `graph` and `text`, cosines of vectors; `linear`, weights of the linear term; None takes the one the
                served row is made of.
            where: conditions on columns of the items in the list, as those of a `Question`.

        Returns:
            `{"item", "title", "run", "dataset", "by", "row", "score_is", "similar": [{"rank", "item", "title",
            "score"}]}`; `row` is what the scores come from, `score_is` cosine or weight. With conditions also `among`,
            how many items meet them; with items that are not compared, as nobody has met them, `unmet`, how many;
            where nothing is like the item, or little is known of it, `remarks`, why.

        Raises:
            InputError: the item is unknown, k is less than 1, nothing of that kind is there, or no item is left.
        """
        require_count(k)
        asked, chosen = self.catalogue.position(item), self.chosen(Question(where=names_in(where)))
        with reading(self.artefact):
            found = similar_items(self.index, asked, k, by, None if chosen is None else chosen.allowed)
            remarks = self._remarks_on(asked, found, chosen)
        return {**self.catalogue.shown(asked), **self._similar(found, chosen, remarks)}

    def like_words(self, text: str, k: int = 10, *, where: Names = ()) -> Answer:
        """The items whose texts are nearest to some words, as plain values: what a wish adds, without a person.

        Returns:
            As `alike`, with `text` in place of `item` and `title`. An item nothing is written about is not in the list.

        Raises:
            InputError: the text says nothing, k is less than 1, no item is left, or the run has read no item texts.
        """
        require_count(k)
        chosen = self.chosen(Question(where=names_in(where)))
        try:
            scores = self.readers.likings([text])[0].copy()  # [I]
        except InputError as error:
            error.location = "text" if error.location == "wish" else error.location
            raise
        scores[scores == 0] = -np.inf
        items = nearest(self.index, scores, k, None if chosen is None else chosen.allowed)
        found = Similar(TEXT, COSINE, TEXTS_ROW, items, scores[items])
        remarks = [] if len(items) else ["nothing is written about the items that are chosen"]
        return {"text": text, **self._similar(found, chosen, remarks)}

    def _similar(self, found: Similar, chosen: ChosenItems | None, remarks: Sequence[str]) -> dict[str, Any]:
        """A list of items and what it is by."""
        return {
            "run": self.name,
            "dataset": self.dataset,
            "by": found.way,
            "row": found.row,
            "score_is": found.measure,
            **({} if chosen is None else {"among": chosen.count}),
            **({"unmet": found.unmet} if found.unmet else {}),
            **({"remarks": list(remarks)} if remarks else {}),
            "similar": [
                {"rank": rank, **self.catalogue.shown(int(other)), "score": round(float(score), 4)}
                for rank, (other, score) in enumerate(zip(found.items, found.scores, strict=True), start=1)
            ],
        }

    def _remarks_on(self, item: int, found: Similar, chosen: ChosenItems | None) -> list[str]:
        """Why a list is empty: nothing is like the item, or nothing that is chosen; or why it means little."""
        if len(found.items):
            mean = found.way == GRAPH and is_the_mean(self.index, item)
            return (
                [f"nobody has met it, and no text says what it is: by {found.row} it is the mean item"] if mean else []
            )
        if chosen is not None and len(similar_items(self.index, item, 1, found.way).items):
            return ["no other item that is chosen is like it"]
        return [why_nothing_is_like(self.index, item) if found.way == LINEAR else "there is no other item"]

    def similar(self, item: str, k: int = 10, *, by: str | None = None, where: Names = ()) -> pl.DataFrame:
        """The same as `alike`: a frame of `rank`, `item`, `title` and `score`."""
        found = self.alike(item, k, by=by, where=where)
        for remark in found.get("remarks", ()):
            warnings.warn(remark, stacklevel=2)
        return frame_of(found["similar"])

    def chosen(self, question: Question) -> ChosenItems | None:
        """The items a question leaves; None for all. The last choice is kept: many questions come with the same.

        Raises:
            InputError: a condition or a name cannot be understood, or no item is left.
        """
        key = question.only, question.without, question.where
        last = self._last_chosen  # in one piece, as other threads choose too
        if last is None or last[0] != key:
            only, without, where = key
            last = key, chosen_items(self.catalogue, self.item_columns, only=only, without=without, where=where)
            self._last_chosen = last
        return last[1]

    def names_listed(self, names: Names, location: str) -> tuple[str, ...]:
        """As `names_given` reads them among its items."""
        return names_given(names, self.catalogue, location)

    def history_listed(self, history: History) -> tuple[Entry, ...]:
        """The entries of a history as `entries_given` reads them among its items."""
        return entries_given(history, self._histories.is_one, "history")

    @cached_property
    def _histories(self) -> Histories:
        return Histories(self.catalogue, self.index)

    def _warn_of(self, question: Question, answers: Sequence[Answer]) -> None:
        """A frame has no place for what is said beside it."""
        chosen = self.chosen(question)
        of_all = () if chosen is None else chosen.remarks
        unknown = [each for answer in answers for each in answer.get("remarks", ()) if each not in of_all]
        if len(answers) > 1 and len(unknown) > 1:
            unknown = [f"{unknown[0]}; so for {counted(len(unknown) - 1, 'other user')}"]
        for remark in (*of_all, *unknown):
            warnings.warn(remark, stacklevel=3)

    def choice_of(self, question: Question, liking: NDArray[np.float32] | None = None) -> Choice:
        """Which items may be answered to a question, and by what beside the person, whoever asks.

        Args:
            liking: what its wish makes of all items, [I], or what those of several people do, [B, I]; None of none.
        """
        chosen = self.chosen(question)
        return Choice(
            None if chosen is None else chosen.allowed,
            question.include_seen,
            Diversity(question.diversity, self.index.similarities) if question.diversity else None,
            liking,
            question.wish_weight,
        )

    def liking_of(self, question: Question) -> NDArray[np.float32] | None:
        """What its wish makes of all items, float32 [I], by the model that read their texts; None of none.

        Raises:
            InputError: the run has read no item texts.
        """
        return None if question.wish is None else self.readers.likings([question.wish])[0]

    def _answered(self, alike: Sequence[Question]) -> list[Answer]:
        """The lists of questions that differ in the person, or in the words of the wish, alone."""
        first = alike[0]
        # Whoever cannot be answered is told before a model is loaded.
        with reading(self.artefact):
            row, chosen = row_called(self.index, first.model), self.chosen(first)
            met = [self._read_history(each) for each in alike] if first.user is None else []
            guests = self._guests(met) if met else None
            users = positions_called(self.index, [each.user for each in alike if each.user is not None], self._asked)
        choice = self.choice_of(first, self._likings(alike))
        reader = self._reader_for(row) if first.deep else None
        read = NOT_READ if reader is None or guests is None else reader(guests.history)
        with reading(self.artefact):
            if guests is None:
                found = answers_of_users(self.index, users, first.k, row, choice, because=first.because, reader=reader)
            else:
                found = answers_of_guests(
                    *(self.index, guests.history, first.k, row, choice, read),
                    seen=guests.seen,
                    because=first.because,
                    reader=reader,
                )
        if chosen is None or first.include_seen:
            of_seen: list[dict[str, Any]] = [{}] * len(alike)
        else:
            seen, people = (self.index.seen, users) if guests is None else (guests.seen, np.arange(len(alike)))
            of_seen = [{"among_seen": chosen.answerable_of(seen.of(int(each)), self.index.delisted)} for each in people]
        if met:
            found = [history.told_in(answer) for history, answer in zip(met, found, strict=True)]
        return [
            {**answer, **_among(chosen, answer), **seen_of, **_wished(question)}
            for question, answer, seen_of in zip(alike, found, of_seen, strict=True)
        ]

    def _likings(self, alike: Sequence[Question]) -> NDArray[np.float32] | None:
        """What the wishes of some people make of all items, [B, I], each read once; None where nobody has one."""
        wishes = [question.wish for question in alike if question.wish is not None]
        if not wishes:
            return None
        distinct = {wish: place for place, wish in enumerate(dict.fromkeys(wishes))}
        return self.readers.likings(list(distinct))[[distinct[wish] for wish in wishes]]

    def _require_known(self, question: Question) -> None:
        """Raise `InputError` where the person of a question is not known, or an item of the history."""
        if question.user is not None:
            positions_called(self.index, [question.user], self._asked)
        self._read_history(question)

    def _reader_for(self, row: ServedRow) -> ReadPeople:
        def read(guests: Interactions) -> PeopleRead:
            return self.readers.people(row, guests)

        return read

    def _read_history(self, question: Question) -> ReadHistory:
        """That of somebody who is in no file; of who only wishes for something, nothing."""
        return self._histories.read(question.history or (), "history")

    def _guests(self, histories: Sequence[ReadHistory]) -> Guests:
        known = self.index.history
        rows = [history.rows for history in histories]
        events = self.index.events if any(history.events for history in histories) else NO_EVENTS
        return guests_with_events(rows, known.item_count, events, weighted=known.weights is not None)


def _among(chosen: ChosenItems | None, answer: Answer) -> dict[str, Any]:
    """What an answer says of the items it was chosen among; nothing where it was all."""
    if chosen is None:
        return {}
    return {"among": chosen.count, "remarks": [*chosen.remarks, *answer.get("remarks", ())]}


def _wished(question: Question) -> dict[str, Any]:
    """What an answer says of the wish; nothing where there is none."""
    return {} if question.wish is None else {"wish": question.wish, "wish_weight": question.wish_weight}
