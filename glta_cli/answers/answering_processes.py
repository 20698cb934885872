"""Processes that answer blocks of users side by side, each from the same memory-mapped index.

A process of ours is asked by a pickle on its standard input and answers by one on its standard output. It computes with
one thread, so that what it answers depends on the users of the block and on nothing else; it ends when whoever asks has
gone, however they went; and what a terminal sends to everyone in its foreground does not reach it.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from queue import SimpleQueue
from typing import Any, BinaryIO, Final

from glta_cli.core.errors import GltaError
from glta_cli.core.threads import COUNTING

CODE: Final = "import sys; sys.path[:] = {path!r}; from {module} import serve; serve()"
OWN_THREADS: Final = (*COUNTING, "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")


class AnsweringProcess:
    """One process, started with what it is to answer from; it ends with `close`."""

    def __init__(self, answer: Callable[..., Callable[[Any], Any]], *given: Any) -> None:
        """
        Args:
            answer: a function of a module, which the process calls with `given` first; it asks what that returns.
        """
        code = CODE.format(path=sys.path, module=__name__)
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **dict.fromkeys(OWN_THREADS, "1")},
            start_new_session=True,
        )
        # Sent with the first question: whoever starts several need not wait until each has come up.
        self._unsent: tuple[Any, ...] | None = (answer, given)

    def ask(self, question: Any) -> Any:
        """What the process answers.

        Raises:
            GltaError: it is no more.
            Exception: whatever it raised.
        """
        if self._unsent is not None:
            self._send(self._unsent)
            self._unsent = None
        self._send(question)
        try:
            failed, content = pickle.load(self._pipe(self._process.stdout))
        except EOFError as error:
            raise self._ended() from error
        if failed:
            raise content
        return content

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            try:
                self._pipe(pipe).close()
            except OSError:
                continue  # what nobody will read any more

    def _send(self, content: Any) -> None:
        pipe = self._pipe(self._process.stdin)
        try:
            pickle.dump(content, pipe)
            pipe.flush()
        except OSError as error:
            raise self._ended() from error

    def _ended(self) -> GltaError:
        code = self._process.wait()
        how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with the code {code}"
        return GltaError(
            f"a process that answers was {how}" if code < 0 else f"a process that answers {how}",
            hint="where memory is short, --processes 1 takes least",
        )

    @staticmethod
    def _pipe(pipe: Any) -> BinaryIO:
        assert pipe is not None
        found: BinaryIO = pipe
        return found


@contextmanager
def answering_processes(
    count: int, answer: Callable[..., Callable[[Any], Any]], *given: Any
) -> Iterator[AnsweringProcesses]:
    """So many processes, as `AnsweringProcess` has them, for as long as the block lasts."""
    with ExitStack() as ends:
        idle: SimpleQueue[AnsweringProcess] = SimpleQueue()
        executor = ends.enter_context(ThreadPoolExecutor(count))
        for _ in range(count):
            process = AnsweringProcess(answer, *given)
            # Closed before the threads that wait for them are joined.
            ends.callback(process.close)
            idle.put(process)
        yield AnsweringProcesses(executor, idle, count)


class AnsweringProcesses:
    """Processes that answer at the same time."""

    def __init__(self, executor: ThreadPoolExecutor, idle: SimpleQueue[AnsweringProcess], count: int) -> None:
        self._executor = executor
        self._idle = idle
        self.count = count

    def answers(self, questions: Iterator[tuple[int, Any]], ahead: int = sys.maxsize) -> Iterator[tuple[int, Any]]:
        """The number of each question and its answer, as they come; all that is raised there is raised here.

        Args:
            questions: with their numbers, which ascend.
            ahead: no question is asked whose number is so far from that of the first without an answer.
        """
        open_ones: dict[Future[Any], int] = {}
        upcoming = next(questions, None)
        while upcoming is not None or open_ones:
            first = min(open_ones.values(), default=None)
            while (
                upcoming is not None and len(open_ones) < self.count and (first is None or upcoming[0] < first + ahead)
            ):
                number, question = upcoming
                open_ones[self._executor.submit(self._ask, question)] = number
                first = number if first is None else first
                upcoming = next(questions, None)
            done, _ = wait(open_ones, return_when=FIRST_COMPLETED)
            for future in done:
                yield open_ones.pop(future), future.result()

    def _ask(self, question: Any) -> Any:
        process = self._idle.get()
        try:
            return process.ask(question)
        finally:
            self._idle.put(process)


def serve() -> None:
    """Answer what comes on standard input until there is no more, as a process of its own."""
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # What a library prints is no answer.
    os.dup2(2, 1)
    try:
        answer, given = pickle.load(questions)
        reply = _tried(answer, *given)
        while True:
            question = pickle.load(questions)
            pickle.dump(reply if reply[0] else _tried(reply[1], question), answers)
            answers.flush()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        os._exit(0)  # whoever asked has gone


def _tried(call: Callable[..., Any], *given: Any) -> tuple[bool, Any]:
    """Whether a call failed, and what it raised or returned."""
    try:
        return False, call(*given)
    except Exception as error:
        # For --debug: what is raised again elsewhere does not show where it came from.
        error.add_note(traceback.format_exc())
        return True, _portable(error)


def _portable(error: Exception) -> Exception:
    """The error itself where it can be sent; else one that says the same."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
