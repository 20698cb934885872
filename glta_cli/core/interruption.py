"""Ctrl-C and SIGTERM during long work: said at once, and obeyed where nothing is lost.

The first one is answered at once, and work in steps stops after the step it is at; the second stops it now, as the
first does what has no steps. Python runs a signal's handler between two of its instructions only, which may be minutes
away inside LAPACK: a thread that waits for signals speaks in the meantime.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

from glta_cli.core.errors import InterruptedRunError, Terminated
from glta_cli.core.terminal import takes_colours, takes_escapes
from glta_cli.core.world import launched

if TYPE_CHECKING:
    from socket import socket

STOPPING = (signal.SIGINT, signal.SIGTERM)
CONTINUE = "run the same command again to continue"
# What takes longer to come to a signal's handler is told to somebody who waits.
PROMPT_SECONDS = 0.3
# How long after the second signal a computation that Python cannot cut short may go on.
GRACE_SECONDS = 3.0
END = b"\0"


@dataclass(frozen=True)
class _Section:
    step: str | None  # None where there are no steps to wait for
    now: str
    kept: str | Callable[[], str]

    def kept_words(self) -> str:
        return self.kept if isinstance(self.kept, str) else self.kept()


_sections: list[_Section] = []
_received: list[signal.Signals] = []


def asked_to_stop() -> signal.Signals | None:
    """The signal that asked the work in progress to stop; None where none did."""
    return _received[0] if _received else None


def stop_if_asked() -> None:
    """Raise `InterruptedRunError` where a signal asked to stop: to be called where what was done is kept."""
    if _received:
        kept = _sections[-1].kept_words() if _sections else "what is done is kept"
        raise InterruptedRunError(f"stopped by {_received[0].name}: {kept}", signal_number=_received[0], hint=CONTINUE)


@contextmanager
def stops_after(step: str, *, kept: str | Callable[[], str] | None = None, now: str | None = None) -> Iterator[None]:
    """Inside, SIGINT and SIGTERM are noted and answered at once; whoever works asks `stop_if_asked` between two steps.

    A second one ends the work now, by the handler there was before. Sections may be nested: the innermost has the
    word. A signal nobody asked about ends the outermost one, once its work is done. Outside the main thread, which
    alone may say what a signal does, and where it is to be ignored, nothing changes.

    Args:
        step: what is finished first, such as `this step`.
        kept: what a stop leaves, as the end of a sentence; None leaves that to the section around it.
        now: what a second Ctrl-C does; None as the section around it.

    Raises:
        InterruptedRunError: a signal came, and the work inside was finished without a look at it.
    """
    around = _sections[-1] if _sections else _Section(None, "now", "what is done is kept")
    section = _Section(step, around.now if now is None else now, around.kept if kept is None else kept)
    with _entered(section):
        yield


@contextmanager
def stops_at_once(*, kept: str | Callable[[], str]) -> Iterator[None]:
    """Inside, but for the sections of `stops_after` within, the first SIGINT or SIGTERM ends the work, and says so.

    Args:
        kept: what that leaves, as the end of a sentence.
    """
    with _entered(_Section(None, "now", kept)):
        yield


@contextmanager
def _entered(section: _Section) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _sections.append(section)
    try:
        if len(_sections) > 1:
            yield
        else:
            with _Watch():
                yield
    finally:
        _sections.pop()


class _Watch:
    """The handlers of the outermost section, and the thread that speaks while no handler can run."""

    def __enter__(self) -> None:
        import socket

        _received.clear()
        self.obeyed = False  # whether Python has come to the handler of the signal that ends the work
        self.reading, self.writing = socket.socketpair()
        self.writing.setblocking(False)
        self.wakeup_before = signal.set_wakeup_fd(self.writing.fileno(), warn_on_full_buffer=False)
        self.before = {
            number: signal.signal(number, self._note)
            for number in STOPPING
            if signal.getsignal(number) is not signal.SIG_IGN
        }
        self.thread = threading.Thread(target=self._speak, args=(self.reading,), name="signals", daemon=True)
        self.thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            for number, handler in self.before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)
        finally:
            self._end_speaking()
        try:
            # Only now can none be noted that nobody would look for any more. What is tried again when something fails
            # is not when somebody stops it.
            if error is None or isinstance(error, Exception):
                stop_if_asked()
        finally:
            _received.clear()

    def _end_speaking(self) -> None:
        signal.set_wakeup_fd(self.wakeup_before)
        # What is to be said is said before whoever is told of the end says more.
        self.writing.setblocking(True)
        self.writing.send(END)
        self.thread.join()
        self.reading.close()
        self.writing.close()

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not _received and _sections[-1].step is not None:
            _received.append(signal.Signals(number))
            return
        self.obeyed = True
        handler = self.before.get(signal.Signals(number))
        if callable(handler):
            handler(number, frame)
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated(128 + number)

    def _speak(self, reading: socket) -> None:
        """Answer the first signal and the second as they come, until the section ends."""
        count = 0
        while (byte := reading.recv(1)) not in (END, b""):
            if byte[0] not in STOPPING:
                continue
            count += 1
            section = _sections[-1]
            if count == 1 and section.step is not None:
                _write(f"stopping after {section.step} (Ctrl-C again: {section.now})")
            elif count == 1 and not self._obeyed_within(PROMPT_SECONDS):
                _write(f"stopping once this computation is over (Ctrl-C again: now); {section.kept_words()}")
            elif count <= 2:
                _write(f"stopping now: {section.kept_words()}\n  hint: {CONTINUE}")
                if not self._obeyed_within(GRACE_SECONDS):
                    # What is half written goes with the next start.
                    os._exit(128 + byte[0])

    def _obeyed_within(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while not self.obeyed and time.monotonic() < until:
            time.sleep(0.02)
        return self.obeyed


def _write(line: str) -> None:
    """One line on stderr, past Python's buffers, which the main thread may be in; bars make way for it.

    Of the processes of a command the first one speaks for all.
    """
    if not launched().first:
        return
    text = line.encode() + b"\n"
    tqdm = getattr(sys.modules.get("tqdm"), "tqdm", None)
    if tqdm is not None and getattr(tqdm, "_instances", None):
        # On a terminal the bar is drawn again below; in a file it has the line it is on.
        text = (b"\r\x1b[J" if takes_escapes(sys.stderr) and takes_colours() else b"\n") + text
    with suppress(OSError):  # nobody is there to be told
        os.write(2, text)
