"""Ctrl-C and SIGTERM while modules are imported, before a command could tidy up or say anything itself."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

WORDS = {signal.SIGINT: b"interrupted\n", signal.SIGTERM: b"terminated\n"}


@contextmanager
def ended_at_once() -> Iterator[None]:
    """Inside, both end the process with the exit code a command has, rather than with a traceback of an import.

    A signal that was to be ignored, as one is in the background of a script, still is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say what a signal does
        return
    before = {number: signal.getsignal(number) for number in WORDS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_words(number: int) -> None:
    """Say on stderr that a signal ends the process: past Python's buffers, which the signal may have interrupted."""
    try:
        os.write(2, WORDS[signal.Signals(number)])
    except OSError:
        return  # nobody is there to be told


def _end(number: int, frame: FrameType | None) -> None:
    end_words(number)
    os._exit(128 + number)
