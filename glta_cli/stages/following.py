"""What a process does that is not the first of its command: carry out what that orders, without a word."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TextIO

from glta_cli.core.errors import GltaError, InterruptedRunError, Terminated, one_line
from glta_cli.core.process_group import GRACE_SECONDS, Meeting
from glta_cli.stages.together import Company, Order


def follow(meeting: Meeting, *, debug: bool) -> int:
    """Carry out the orders of the first process until it leaves; returns the exit code.

    What fails here is told by the first process, which learns of it; where it cannot, by this one.

    Args:
        debug: whether a traceback of what failed is wanted.
    """
    with _silent() as stderr:
        company = Company(meeting)
        try:
            while (order := meeting.next_order()) is not None:
                _carry_out(order, company)
        except InterruptedRunError as stopped:
            return _stopped(company, stopped.signal_number, stopped.problem)
        except KeyboardInterrupt:
            return _stopped(company, signal.SIGINT, "stopped by SIGINT: what is done is kept")
        except Terminated:
            return _stopped(company, signal.SIGTERM, "stopped by SIGTERM: what is done is kept")
        except SystemExit as end:
            return int(end.code or 0)  # others have gone, and say so themselves
        except BaseException as error:
            if debug:
                print(f"{meeting.world}: {''.join(traceback.format_exception(error))}", end="", file=stderr)
            return _failed(company, error, stderr)
    return 0


def _carry_out(order: Order, company: Company) -> None:
    from glta_cli.core.threads import compute_with_threads

    compute_with_threads(order.threads)
    with company.working(order):
        order.carry_out()


def _stopped(company: Company, number: int, problem: str) -> int:
    """Have the others stop too; where they are busy with something else, their launcher does by the exit code."""
    company.meeting.leave_word({"signal": int(number), "problem": problem})
    noticed = company.notices_who_leaves
    company.leave()
    return 0 if noticed else 128 + number


def _failed(company: Company, error: BaseException, stderr: TextIO) -> int:
    told = _told(error)
    company.meeting.leave_word(told)
    noticed = company.notices_who_leaves
    company.leave()
    if noticed:
        return 0  # it is the first one's failure as soon as it looks for this one
    if not _first_says_so(company.meeting):
        company.meeting.leave_word({**told, "told": True})
        where = f"{company.meeting.world}" + (f": {told['location']}" if told["location"] else "")
        shown = GltaError(told["problem"], location=where, hint=told["hint"])
        print(shown, file=stderr)
    return 1


def _first_says_so(meeting: Meeting) -> bool:
    """Whether the first process ends within the time it has to learn of this one's end."""
    until = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < until:
        try:
            if meeting.left_by(0) is not None:
                return True
        except RuntimeError:
            return True  # with it went the store
        time.sleep(0.1)
    return False


def _told(error: BaseException) -> dict[str, Any]:
    """Problem, location and hint of an error."""
    from glta_cli.core.failures import failure_of_system

    known = error if isinstance(error, GltaError) else failure_of_system(error)
    if isinstance(known, GltaError):
        return {"problem": known.problem, "location": known.location, "hint": known.hint}
    problem = one_line(f"{type(error).__name__}: {error}")
    return {"problem": problem, "location": None, "hint": "run it again with --debug and report the traceback"}


@contextmanager
def _silent() -> Iterator[TextIO]:
    """Inside nothing is said, but into what is returned; and signals end what waits without a word."""
    os.environ["GLTA_QUIET"] = "1"
    os.dup2(2, 1)  # nothing of a library in another language comes between the results
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGTERM, _terminate)
    stdout, stderr = sys.stdout, sys.stderr
    with open(os.devnull, "w", encoding="utf-8") as nothing:  # noqa: PTH123 (it is no file)
        sys.stdout = sys.stderr = nothing
        try:
            yield stderr
        finally:
            sys.stdout, sys.stderr = stdout, stderr


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated(128 + number)
