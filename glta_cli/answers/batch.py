"""Answers for many users at once: in parts, by several processes, into one file that is there whole or not at all."""

from __future__ import annotations

import hashlib
import io
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glta_cli import __version__
from glta_cli.answers.answering_processes import AnsweringProcesses, answering_processes
from glta_cli.answers.asked_users import AskedUsers
from glta_cli.answers.batch_formats import head, write_joined
from glta_cli.answers.batch_part import BatchQuestion, Part, answering, part_size
from glta_cli.answers.kept_parts import KeptParts, kept_parts
from glta_cli.core.counts import counted
from glta_cli.core.files import fingerprint
from glta_cli.core.progress import progress_bar, without_bars
from glta_cli.core.terminal import say, show_text

STEP = "this part of the users"
# Parts of which none was written yet, for each process: they wait for one before them.
AHEAD = 2


@dataclass(frozen=True)
class Answered:
    """What came of many answers.

    Attributes:
        users, rows: in the output.
        without: users for whom nothing was left to recommend.
        unknown: users ranked by popularity, or by the wish alone, as the row tells nothing of them.
        kept: users whose answers were there from a run that was stopped.
        seconds: of this run.
    """

    users: int
    rows: int
    without: int
    unknown: int
    kept: int
    seconds: float

    @property
    def per_second(self) -> float:
        """Users answered in a second of this run."""
        return (self.users - self.kept) / max(self.seconds, 1e-9)


def answer_into_file(question: BatchQuestion, asked: AskedUsers, output: Path, processes: int) -> Answered:
    """Answer for all users that are asked for, in their order, into a file.

    A part of the users is computed by one process as by any other, so the file depends on neither their number nor
    on whether it was stopped and gone on with.

    Raises:
        InterruptedRunError: SIGINT or SIGTERM arrived; finished parts are kept.
        BusyError, InputError, GltaError: as `kept_parts`; or the index is damaged.
    """
    begun = time.monotonic()
    with kept_parts(output, _identity(question, asked)) as kept:
        if kept.begun_anew:
            say(f"{kept.folder.name} held answers to another question: begun anew")
        before = kept.users
        if before:
            say(f"{before:,} of {counted(len(asked), 'user is', 'users are')} answered already, in {kept.folder.name}")
        _answer_rest(question, asked, kept, processes, before)
        kept.publish(partial(write_joined, kept.paths(), question.form, because=question.question.because))
        rows = sum(part.rows for part in kept.finished.values())
        without = sum(part.without for part in kept.finished.values())
        unknown = sum(part.unknown for part in kept.finished.values())
    return Answered(len(asked), rows, without, unknown, before, time.monotonic() - begun)


def _answer_rest(question: BatchQuestion, asked: AskedUsers, kept: KeptParts, processes: int, before: int) -> None:
    missing = [(number, users) for number, users in _parts(asked.positions, question) if number not in kept.finished]
    if not missing:
        return
    users_of = {number: len(users) for number, users in missing}

    with (
        progress_bar(
            len(asked),
            "recommend",
            "users",
            done=before,
            step=STEP,
            kept=lambda: f"the answers of {counted(kept.users, 'user is', 'users are')} kept",
        ) as bar,
        answering_processes(min(processes, len(missing)), answering, question) as answerers,
    ):
        for number, part in answerers.answers(iter(missing)):
            kept.keep(
                number,
                part.content,
                users=users_of[number],
                rows=part.rows,
                without=part.without,
                unknown=part.unknown,
            )
            bar.update(users_of[number])


def answer_into_stdout(question: BatchQuestion, asked: AskedUsers, processes: int) -> Answered:
    """As `answer_into_file`, in lines on standard output, of which nothing is kept.

    Raises:
        ReaderLeft: whoever read it has gone.
    """
    begun = time.monotonic()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Data for another program, whatever a terminal here would show.
        sys.stdout.reconfigure(encoding="utf-8")
    parts = list(_parts(asked.positions, question))
    names = head(question.form, because=question.question.because)
    if names:
        _print(names)
    rows = without = unknown = 0
    with (
        # In one terminal a bar would stand between the lines.
        without_bars() if sys.stdout.isatty() else nullcontext(),
        progress_bar(len(asked), "recommend", "users", step=STEP, kept="what was printed stays") as bar,
        answering_processes(min(processes, len(parts)), answering, question) as answerers,
    ):
        for part, users in _in_order(answerers, parts):
            _print(part.content)
            rows, without, unknown = rows + part.rows, without + part.without, unknown + part.unknown
            bar.update(users)
    return Answered(len(asked), rows, without, unknown, 0, time.monotonic() - begun)


def _in_order(answerers: AnsweringProcesses, parts: list[tuple[int, NDArray[np.int64]]]) -> Iterator[tuple[Part, int]]:
    """Each part and how many users it is of, one after the other; those that are ready early wait, a few at most."""
    waiting: dict[int, Part] = {}
    first = 0
    for number, part in answerers.answers(iter(parts), AHEAD * answerers.count):
        waiting[number] = part
        while first in waiting:
            yield waiting.pop(first), len(parts[first][1])
            first += 1


def _print(content: bytes) -> None:
    if content:
        show_text(content.decode().removesuffix("\n"))
        sys.stdout.flush()


def _parts(positions: NDArray[np.int64], question: BatchQuestion) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """The users of each part, by its number."""
    size = part_size(len(positions), because=question.question.because)
    for number, start in enumerate(range(0, len(positions), size)):
        yield number, positions[start : start + size]


def _identity(question: BatchQuestion, asked: AskedUsers) -> dict[str, Any]:
    """What has to be the same for parts of a stopped run to be gone on with."""
    return {
        "glta": __version__,
        "question": fingerprint([question.index.name, asdict(question.question), question.form]),
        "users": hashlib.sha256(asked.positions.tobytes()).hexdigest(),
        "part": part_size(len(asked), because=question.question.because),
    }
