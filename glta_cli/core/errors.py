"""Errors a user can act on: where, what, hint, and the exit code that belongs to them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import ClassVar

from glta_cli.core.counts import counted
from glta_cli.core.printable import bounded, visible

LONGEST_PART = 2_000
MOST_PROBLEMS = 100
# What the place of a setting begins with that was given on the command line.
OVERRIDE = "--set "
BREAK = re.compile(r"\s*\n\s*")


class GltaError(Exception):
    """A run failed for a reason worth telling in one line.

    As text it is fit for a terminal whatever stood in the user's files: characters that would command one become
    escapes, and each part has at most 2,000 characters of its own.

    Args:
        problem: what is wrong, without the location.
        location: file, `file:line:column`, option or component the problem belongs to.
        hint: what to do next; lines below the first start with two blanks.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, problem: str, *, location: str | None = None, hint: str | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.location = location
        self.hint = hint

    def __str__(self) -> str:
        return _told(self.problem, self.location, self.hint)


class InputError(GltaError):
    """What the user gave cannot be used: exit code 2."""

    exit_code: ClassVar[int] = 2


class InputErrors(InputError):  # noqa: N818 (the plural is the point)
    """Every problem of one input, reported together."""

    def __init__(self, errors: Sequence[GltaError]) -> None:
        super().__init__(counted(len(errors), "problem"))
        self.errors = list(errors)

    def __str__(self) -> str:
        shown = [str(error) for error in self.errors[:MOST_PROBLEMS]]
        if len(self.errors) > MOST_PROBLEMS:
            shown.append(f"and {counted(len(self.errors) - MOST_PROBLEMS, 'more problem')}")
        return "\n".join(shown)


class BusyError(GltaError):
    """Another process holds what this one needs: exit code 75 (EX_TEMPFAIL)."""

    exit_code: ClassVar[int] = 75


class PluginError(Exception):
    """A plugin breaks the contract of `glta_cli.plugin`; whoever catches it says which plugin."""


class Terminated(SystemExit):
    """SIGTERM arrived: nobody's error."""


class InterruptedRunError(Terminated):
    """A signal stopped the run where what was done is kept: exit code 128 + signal number.

    It is nobody's error either: what is tried again or left out when something fails is not when somebody stops it.
    """

    def __init__(self, problem: str, *, signal_number: int, hint: str | None = None) -> None:
        super().__init__(128 + signal_number)
        self.problem = problem
        self.hint = hint
        self.signal_number = signal_number

    def __str__(self) -> str:
        return _told(self.problem, None, self.hint)


class ReaderLeft(Terminated):
    """Whoever read stdout has gone, as `head` does: nothing is said, and the exit code is that of SIGPIPE."""

    def __init__(self) -> None:
        super().__init__(128 + 13)


def _told(problem: str, location: str | None, hint: str | None) -> str:
    if location is not None:
        # An override is its own place: its key is not said twice.
        problem = problem.removeprefix(f"{location.removeprefix(OVERRIDE)}: ")
    head = f"{one_line(location)}: {one_line(problem)}" if location else one_line(problem)
    if not hint:
        return head
    lines = [visible(line) for line in bounded(hint, LONGEST_PART).split("\n  ")]
    return f"{head}\n  hint: " + "\n  ".join(lines)


def one_line(text: str) -> str:
    """`text` as one line of a message: a blank for each break, escapes for what a terminal would obey, not too long."""
    text = bounded(text, LONGEST_PART)
    return visible(BREAK.sub(" ", text))


def did_you_mean(word: str, known: Sequence[str]) -> str | None:
    """The hint that names the known word closest to `word`, or None when none is close."""
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else None
