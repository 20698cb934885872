"""Ctrl-C and SIGTERM while modules are imported, before a command could tidy up or say anything itself."""

from __future__ import annotations

# Nothing else: what is imported before the signals are held is what a signal still shows a traceback of.
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

WORDS = {signal.SIGINT: b"interrupted\n", signal.SIGTERM: b"terminated\n"}


class EndedAtOnce:
    """A context inside which both end the process with the exit code a command has, not with a traceback of an import.

    Where the process is the command itself, that lasts until `release`: `main` is still to be called.

    A signal that was to be ignored, as one is in the background of a script, still is; and outside the main thread,
    which alone may say what a signal does, nothing changes.
    """

    def __enter__(self) -> None:
        self.before = {number: signal.getsignal(number) for number in WORDS}
        for number, handler in self.before.items():
            if handler is not signal.SIG_IGN:
                _handle(number, _end)

    def __exit__(self, *raised: object) -> None:
        if not _is_the_command():
            self.release()

    def release(self) -> None:
        """Have both do what they did before."""
        for number, handler in self.before.items():
            _handle(number, handler)


def end_words(number: int) -> None:
    """Say on stderr that a signal ends the process: past Python's buffers, which the signal may have interrupted."""
    if os.environ.get("RANK", "0") != "0":
        return  # of several processes of a command the first one speaks
    try:
        os.write(2, WORDS[signal.Signals(number)])
    except OSError:
        return  # nobody is there to be told


def _is_the_command() -> bool:
    """Whether the process was started as `glta` or `python -m glta_cli`, not by a program that imports it."""
    program = sys.modules["__main__"]
    file = os.path.basename(getattr(program, "__file__", None) or "")  # noqa: PTH119 (pathlib is not imported yet)
    if file == "__main__.py":
        # Not every package that is run so is this one.
        return getattr(program, "__package__", None) == __name__.partition(".")[0]
    return file == "glta"


def _handle(number: signal.Signals, handler: signal._HANDLER) -> None:
    try:
        signal.signal(number, handler)
    except ValueError:
        return  # not the main thread


def _end(number: int, frame: FrameType | None) -> None:
    end_words(number)
    os._exit(128 + number)
