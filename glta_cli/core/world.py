"""The processes one command was started as, and those that do the present work together.

`torchrun`, `accelerate launch` and `--processes N` start a command several times and tell each process which one it is.
The first one is the command: it reads options, decides what is to be run, writes, and speaks. The others wait for work
that all of them do together (`stages/together.py`). Who computes asks `team()` with whom: almost always with nobody.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

from glta_cli.core.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# As torch's launchers name them.
RANK, SIZE, LOCAL_RANK, LOCAL_SIZE = "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"
# Set by `--processes N`, whose parent says itself which process ended and how.
STARTED_BY_US: Final = "GLTA_STARTED_PROCESSES"

Content = TypeVar("Content")


def left(rank: int) -> str:
    """Under which key of the store in which the processes meet it stands why one of them left."""
    return f"left/{rank}"


@dataclass(frozen=True)
class World:
    """Which of the processes of a command this one is.

    Attributes:
        rank: from 0, over all machines.
        size: how many there are.
        local_rank: from 0, on this machine: the number of its GPU.
        local_size: how many there are on this machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def first(self) -> bool:
        """Whether it is the one that decides, writes and speaks."""
        return self.rank == 0

    def __str__(self) -> str:
        return f"process {self.rank + 1} of {self.size}"


@cache
def launched() -> World:
    """What the launcher said of this process; without one it is the only process.

    Raises:
        InputError: a launcher's variables are no numbers, or do not go together.
    """
    if RANK not in os.environ or SIZE not in os.environ:
        return World()
    found = World(*(_number(name, usual) for name, usual in ((RANK, 0), (SIZE, 1), (LOCAL_RANK, 0), (LOCAL_SIZE, 1))))
    if not 0 <= found.rank < found.size:
        raise InputError(
            f"is {found.rank}, of {found.size} processes",
            location=RANK,
            hint="torchrun, accelerate launch and --processes set it; without them unset it",
        )
    return found


def _number(name: str, usual: int) -> int:
    given = os.environ.get(name, str(usual))
    if not given.isdecimal():
        raise InputError(f"'{given}' is no number", location=name, hint="torchrun and accelerate launch set it")
    return int(given)


class Team:
    """Processes that do one work together, all at the same place of it: by itself, one process that is all of them.

    What any of them calls here, all of them call, in the same order.

    Attributes:
        rank, size: which one this is, of how many.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def broadcast(self, content: Content) -> Content:
        """What the first one has, for all; small, as it is pickled."""
        return content

    def gathered(self, array: NDArray[Any]) -> list[NDArray[Any]]:
        """The arrays of all, by rank; of one dtype and number of dimensions, the first of which may differ."""
        return [array]

    def gathered_objects(self, content: Content) -> list[Content]:
        """What each has, by rank; small, as it is pickled."""
        return [content]

    def summed(self, numbers: Sequence[float]) -> list[float]:
        """The sum over all of each number."""
        return list(numbers)

    def largest(self, number: int) -> int:
        """The largest of what they have."""
        return number

    def wait_for_all(self) -> None:
        """Return once all have come here."""

    @contextmanager
    def working(self) -> Iterator[None]:
        """Inside, what breaks because another process has gone becomes the reason why it has."""
        yield

    def share(self, count: int, multiple: int = 1) -> slice:
        """This one's part of so many things in a row, all parts but the last of a multiple of `multiple`."""
        if self.size == 1:
            return slice(0, count)
        each = -(-count // (self.size * multiple)) * multiple
        return slice(min(self.rank * each, count), min((self.rank + 1) * each, count))

    def joined(self, array: NDArray[Any]) -> NDArray[Any]:
        """The parts of all, of `share`, in a row again."""
        if self.size == 1:
            return array
        import numpy as np

        found = self.gathered(array)
        return np.concatenate([each for each in found if len(each)] or found[:1])


ALONE: Final = Team()
_teams: list[Team] = []


def team() -> Team:
    """The processes that do the present work together: this one alone, unless they were called together."""
    return _teams[-1] if _teams else ALONE


@contextmanager
def working_in(group: Team) -> Iterator[None]:
    """Inside, all processes of the group do the same work."""
    _teams.append(group)
    try:
        yield
    finally:
        _teams.pop()


@contextmanager
def working_alone() -> Iterator[None]:
    """Inside, this process works for itself, whoever it works with outside."""
    with working_in(ALONE):
        yield
