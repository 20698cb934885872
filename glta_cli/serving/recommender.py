"""Recommendations from a published index: for users it knows, and for people who are in no file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.counts import agreeing, counted
from glta_cli.core.errors import InputError, InputErrors
from glta_cli.core.printable import visible
from glta_cli.core.tensors import damaged
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.fused_terms import ENCODER, LANGUAGE
from glta_cli.serving.choice import ALL, Choice, Liking, Ranked, best_of
from glta_cli.serving.guests import NOT_READ, PeopleRead, ReadPeople, guest_scorer
from glta_cli.serving.index import VECTORS, Index
from glta_cli.serving.nearest_ids import nearest_ids
from glta_cli.serving.person_reasons import guest_reasons, user_reasons
from glta_cli.serving.reasons import Reasons, only
from glta_cli.serving.rows import POPULARITY_ROW, in_place_of
from glta_cli.serving.served_row import ServedRow
from glta_cli.serving.similar import said_of_the_mean
from glta_cli.workspace.artefact import MANIFEST, Artefact

USERS_FILE: Final = "users.parquet"
"""Of the prepared dataset; its own module would import Polars."""

RECENT_ITEMS = 10
NAMED_UNKNOWN: Final = 3
"""Of a history nothing is known of, so many items are named."""

Answer = dict[str, Any]
"""What `recommend` returns but for the user."""


@dataclass(frozen=True)
class AskedRun:
    """The run an index is asked for, and the name of its dataset."""

    name: str
    dataset: str


def recommend(artefact: Artefact, user: str, k: int, asked: AskedRun | None = None) -> dict[str, Any]:
    """The k best items for a user, with original ids and titles.

    Those of the history that count as seen are left out, and what a list of items names no more (`glta update`).

    Args:
        asked: the run to name in errors.

    Returns:
        `{"user", "row", "terms": {row: share}, "answered_by", "history": [{"item", "title"}], "recommendations":
        [{"rank", "item", "title", "score"}]}`; `row` is what validation found best, `terms` those it is made of with
        their shares for this user, `answered_by` the same in words; the history's latest item first, at most ten.
        Where the row has the same score for every item, popularity ranks in its place, or a wish alone, and `remarks`
        says so.

    Raises:
        InputError: the user is unknown, or k is less than 1.
        GltaError: the index is damaged.
    """
    require_count(k)
    index = Index(artefact)
    with reading(artefact):
        [answer] = answers_of_users(index, np.array([position_of(index, user, asked)]), k)
    return {"user": user, **answer}


def require_count(k: int) -> None:
    """Raise `InputError` where that is no number of items: what Python passes is not always an `int`."""
    if isinstance(k, bool) or not isinstance(k, Integral) or k < 1:
        shown = visible(repr(k))
        raise InputError(f"{shown} is no number of items", location="k", hint="a whole number, at least one")


def known_to(artefact: Artefact) -> dict[str, Any]:
    """What answers are given from: `interactions`, their number, `newest`, the day of the last, and `trained`, how many
    of them the parameters were trained on.

    Each is None where nobody knows: an index of 0.1 knows training items, and no days.
    """
    details = artefact.manifest["details"]
    if "interactions" in details:
        return {**{key: details[key] for key in ("interactions", "newest")}, "trained": details.get("trained")}
    prepared = Artefact(artefact.parent("prepare"))
    known = (prepared.path / MANIFEST).is_file()
    trained = prepared.details["split"]["train"] if known else None
    return {"interactions": trained, "newest": None, "trained": trained}


def answers_of_users(
    index: Index,
    users: NDArray[np.int64],
    k: int,
    row: ServedRow | None = None,
    choice: Choice = ALL,
    *,
    because: bool = False,
    reader: ReadPeople | None = None,
) -> list[Answer]:
    """What `recommend` returns but for the user, for each of some users by their indices, [B].

    Args:
        row: None for what is served.
        because: whether each recommendation is to have its reasons, `because` (`Reasons.of`).
        reader: has histories read, where reasons are to be found in the language model's term as well.
    """
    row = row or index.row
    left_out = index.left_out(users)
    score, popularity = index.scorer(*left_out, row=row), in_place_of(index, row)
    ranked = best_of(score, users, k, choice, *left_out, popularity=popularity)
    reasons = [
        reasons_of_user(index, row, int(user), found, choice.liking_of(place), reader) if because else None
        for place, (user, found) in enumerate(zip(users, ranked, strict=True))
    ]
    return [
        _answer(index, row, index.length(int(user)), index.history.of(int(user)), found, why)
        for user, found, why in zip(users, ranked, reasons, strict=True)
    ]


def answers_of_guests(
    index: Index,
    guests: Interactions,
    k: int,
    row: ServedRow | None = None,
    choice: Choice = ALL,
    read: PeopleRead = NOT_READ,
    *,
    seen: Interactions | None = None,
    because: bool = False,
    reader: ReadPeople | None = None,
) -> list[Answer]:
    """The same for people who are in no file, by their histories (`guest_scorer`).

    Where the row has a language model in it that has not read them, and is therefore left out of the answer, the answer
    says so: `not_read_by`.

    Args:
        read: what trained models made of them.
        seen: what of their histories is kept out of the lists; None for all of it.

    Raises:
        InputError: nothing the index holds can tell anything of somebody the language model has not read.
    """
    row = row or index.row
    score, told = guest_scorer(index, row, guests, read)
    people = np.arange(guests.user_count)
    never, popularity = index.delisted_for(people, len(people)), in_place_of(index, told)
    ranked = best_of(score, people, k, choice, guests if seen is None else seen, *never, popularity=popularity)
    reasons = [
        guest_reasons(
            index,
            _by(told, found),
            only(guests, person),
            found.items,
            read.of(person),
            reader,
            _liking(choice, person, found),
        )
        if because
        else None
        for person, found in enumerate(ranked)
    ]
    unheard = {"not_read_by": row.shown[LANGUAGE]} if told is not row else {}
    answers = [
        {**_answer(index, told, int(guests.counts[person]), guests.of(int(person)), found, why), **unheard}
        for person, found, why in zip(people, ranked, reasons, strict=True)
    ]
    if ENCODER in told.terms:
        for person, answer in zip(people, answers, strict=True):
            # Where nothing is known of all of them, that says enough.
            if "remarks" not in answer and (remarks := said_of_the_mean(index, guests.of(int(person)))):
                answer["remarks"] = remarks
    return answers


def reasons_of_user(
    index: Index,
    row: ServedRow,
    user: int,
    found: Ranked,
    liking: Liking | None = None,
    reader: ReadPeople | None = None,
) -> Reasons:
    """Why a user of the index has the scores of a list, ranked by a row and by what counts beside it."""
    # Where the row tells no item from another, nothing counts beside popularity either.
    liking = None if found.by_popularity else liking
    return user_reasons(index, _by(row, found), user, found.items, reader, liking)


def _by(row: ServedRow, found: Ranked) -> ServedRow:
    """The row a list is ranked by, where one was asked for."""
    return POPULARITY_ROW if found.by_popularity else row


def _liking(choice: Choice, place: int, found: Ranked) -> Liking | None:
    """What counts in a list beside the row: nothing where that tells no item from another, either."""
    return None if found.by_popularity else choice.liking_of(place)


def _answer(
    index: Index, row: ServedRow, length: int, met: NDArray[np.int64], found: Ranked, why: Reasons | None
) -> Answer:
    """Args: length: of the history, by which terms are weighted; met: its items, oldest first."""

    def shown(item: int) -> dict[str, str]:
        return {"item": index.item_ids[item], "title": index.titles[item]}

    by = _by(row, found)
    # Of somebody without a history it is what was asked for.
    wished_alone = found.by_liking and len(met) > 0
    return {
        "row": by.name,
        "terms": by.of_length(length),
        "answered_by": by.sentence(),
        **({"remarks": [_unknown(index, row, met, found)]} if found.by_popularity or wished_alone else {}),
        "history": [shown(item) for item in met[::-1][:RECENT_ITEMS]],
        "recommendations": [
            {
                "rank": rank,
                **shown(int(item)),
                "score": round(float(score), 4),
                **({} if why is None else {"because": why.of(rank - 1, shown)}),
            }
            for rank, (item, score) in enumerate(zip(found.items, found.scores, strict=True), start=1)
        ],
    }


def _unknown(index: Index, row: ServedRow, met: NDArray[np.int64], found: Ranked) -> str:
    """What is said where a row has the same score for every item."""
    ids = [visible(index.item_ids[item]) for item in dict.fromkeys(met[::-1].tolist())]
    named = ", ".join(ids[:NAMED_UNKNOWN])
    more = f" and {counted(len(ids) - NAMED_UNKNOWN, 'other item')}" if len(ids) > NAMED_UNKNOWN else ""
    what = f"{agreeing(len(ids), 'item', 'items')} {named}{more}" if ids else "this person"
    ranked_by = "popularity" if found.by_popularity else "the wish alone"
    return f"nothing is known to {row.name} of {what}: ranked by {ranked_by}"


def position_of(index: Index, user: str, asked: AskedRun | None = None) -> int:
    """The index of a user by the original id.

    Raises:
        InputError: nobody is called that, or the log does not name them any more.
    """
    position = index.user(user)
    # Whom the log does not name any more is forgotten, although what was learnt of them lies here until the training.
    if position is None or not len(index.history.of(position)):
        raise unknown_user(user, index.user_ids.tolist(), index.artefact.parent("prepare") / USERS_FILE, asked)
    return position


def positions_called(index: Index, users: Sequence[str], asked: AskedRun | None = None) -> NDArray[np.int64]:
    """The indices of several users by their ids, [n]; raises as `position_of`, of all that are unknown together."""
    positions: list[int] = []
    unknown: list[InputError] = []
    for user in users:
        try:
            positions.append(position_of(index, user, asked))
        except InputError as error:
            unknown.append(error)
    if len(unknown) > 1:
        raise InputErrors(unknown)
    if unknown:
        raise unknown[0]
    return np.array(positions, dtype=np.int64)


@contextmanager
def reading(artefact: Artefact) -> Iterator[None]:
    """What is wrong in the files of an index while it answers, as the error it is.

    Raises:
        GltaError: the index is damaged.
    """
    try:
        yield
    except (IndexError, ValueError, OverflowError, MemoryError) as error:
        # Of a large index the header alone is checked before; what it leads to is no number of this index's.
        raise damaged(artefact.path / VECTORS, f"it leads nowhere: {error}") from error


def unknown_user(user: str, ids: Sequence[str], path: Path, asked: AskedRun | None = None) -> InputError:
    """The error of an id no user has: how many there are, which ids are near, and where all of them are listed."""
    near = ", ".join(map(visible, nearest_ids(user, ids)))
    where = f" in run {asked.name} (dataset {asked.dataset})" if asked else ""
    there = f"there {agreeing(len(ids), 'is', 'are')} {counted(len(ids), 'user')}"
    return InputError(
        f"no user is called '{visible(user)}'{where}; {there}",
        location="user",
        hint=f"{f'the nearest ids are {near}; ' if near else ''}all of them are in {path}",
    )
