"""Whom many answers are asked for: everyone, or those a file names."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from glta_cli.answers.listed_names import Listed, lines_in, names_in_file
from glta_cli.core.counts import counted
from glta_cli.core.errors import InputError
from glta_cli.core.printable import visible
from glta_cli.serving.index import Index
from glta_cli.serving.nearest_ids import nearest_ids

EVERYONE: Final = "all"
STANDARD_INPUT: Final = "-"
USERS: Final = Listed(
    "user",
    (
        *("user", "userid", "uid", "customer", "customerid", "reviewerid", "visitorid", "memberid", "account"),
        "id",
    ),
)


@dataclass(frozen=True)
class AskedUsers:
    """Users to answer for, in the order they are asked for.

    Attributes:
        positions: of the index, int64 [n]; nobody twice.
        repeated: how many ids were named before.
        unknown: how many ids nobody has.
        unknown_id: the first of those; '' where there is none.
    """

    positions: NDArray[np.int64]
    repeated: int = 0
    unknown: int = 0
    unknown_id: str = ""

    def __len__(self) -> int:
        return len(self.positions)


def everyone(index: Index) -> AskedUsers:
    """Whoever has a history, in the order of the index; raises `InputError` where nobody has one."""
    positions = np.flatnonzero(index.history.counts)
    if not len(positions):
        raise InputError("nobody the run knows has a history", location="users")
    return AskedUsers(positions)


def users_called(index: Index, ids: Iterable[str], where: str) -> AskedUsers:
    """Users by their ids, each once, in this order; those the log does not name any more are unknown.

    Args:
        where: the ids come from, for errors.

    Raises:
        InputError: there is no id, or the index knows none.
    """
    asked = list(ids)
    if not asked:
        raise InputError("names no user", location=where, hint="one id a line, or a table with the column user")
    known: dict[int, None] = {}
    unknown: dict[str, None] = {}
    has_history = index.history.counts > 0
    for user, position in zip(asked, positions_of(index, asked), strict=True):
        if position is None or not has_history[position]:
            unknown[user] = None
        else:
            known[position] = None
    first = next(iter(unknown), "")
    if not known:
        raise _all_unknown(first, len(unknown), index, where)
    repeated = len(asked) - len(known) - len(unknown)
    return AskedUsers(np.fromiter(known, dtype=np.int64, count=len(known)), repeated, len(unknown), first)


def positions_of(index: Index, ids: Sequence[str]) -> Iterator[int | None]:
    """The position of each id in an index; None where nobody has it."""
    names = index.user_ids
    # Of few ids each is looked for; of many, all there are is read once.
    if len(ids) * 20 < len(names):
        return (index.user(each) for each in ids)
    by_id = {name: position for position, name in enumerate(names.tolist())}
    return (by_id.get(each) for each in ids)


def _all_unknown(first: str, count: int, index: Index, where: str) -> InputError:
    ids = index.user_ids.tolist()
    near = ", ".join(map(visible, nearest_ids(first, ids)))
    none = f"nobody is called '{visible(first)}'" if count == 1 else f"nobody has any of {counted(count, 'id')}"
    such_as = "" if count == 1 else f", such as '{visible(first)}'"
    hint = f"the ids nearest to '{visible(first)}' are {near}" if near else f"ids here look like '{visible(ids[0])}'"
    return InputError(f"{none}{such_as}; there are {counted(len(ids), 'user')}", location=where, hint=hint)


# ----------------------------------------------------------------------------------------------- ids in a file


def ids_in(named: str) -> list[str]:
    """The ids a file names: one a line, or the column of users of a table in CSV, TSV or Parquet.

    Raises:
        InputError: there is no such file, it is no table of its kind, or has no column of users.
    """
    if named == STANDARD_INPUT:
        if sys.stdin is None or sys.stdin.isatty():
            raise InputError("nothing is piped in", location="standard input", hint="one id a line")
        return lines_in(sys.stdin.buffer.read(), "standard input")
    path = Path(named)
    try:
        return names_in_file(path, USERS)
    except (FileNotFoundError, IsADirectoryError) as error:
        problem = "is a folder" if path.is_dir() else "no such file"
        hint = f"'{EVERYONE}' answers for everyone; a file has one id a line, or the column user"
        raise InputError(problem, location=named, hint=hint) from error


def told(asked: AskedUsers) -> list[str]:
    """Sentences of whom it does not answer for, or not twice."""
    lines = []
    if asked.unknown:
        many = counted(asked.unknown, "id is", "ids are")
        lines.append(f"{many} nobody's here, such as '{visible(asked.unknown_id)}': left out")
    if asked.repeated:
        lines.append(f"{counted(asked.repeated, 'id was', 'ids were')} named before: each user is answered once")
    return lines
