"""Questions of many callers answered together: whoever asks while others are answered is in the next batch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

Q = TypeVar("Q")
A = TypeVar("A")


class QueueFullError(Exception):
    """So many wait already that one more would wait for too long."""


class Gatherer(Generic[Q, A]):
    """Answers questions in batches, in threads of its own, in the order in which they came.

    Batches come about by themselves: as long as every thread is at work, what is asked waits, and goes together. A
    batch that fails as a whole is halved until what is wrong stands alone, so that nobody has the error of another.

    Args:
        answer: the answers to some questions, in their order, or errors in the place of some; called in a thread.
        name: of its threads.
        threads: batches that are answered at once.
        most: questions of a batch.
        waiting: questions that may wait; None is no limit.
        seconds: how long the first of a batch waits for others although a thread is free.
        seen: told how many questions each batch has.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Q]], Sequence[A | Exception]],
        *,
        name: str,
        threads: int,
        most: int,
        waiting: int | None = None,
        seconds: float = 0.0,
        seen: Callable[[int], object] = lambda size: None,
    ) -> None:
        self._answer = answer
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._threads = threads
        self._most = most
        self._most_waiting = waiting
        self._seconds = seconds
        self._seen = seen
        self._questions: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._at_work = 0

    @property
    def waiting(self) -> int:
        """Questions no thread has taken yet."""
        return len(self._questions)

    async def ask(self, question: Q) -> A:
        """The answer to one question.

        Raises:
            QueueFullError: too many wait.
            GltaError: of this question.
        """
        if self._most_waiting is not None and len(self._questions) >= self._most_waiting:
            raise QueueFullError
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._questions.append((question, future))
        if self._at_work < self._threads:
            self._at_work += 1
            task = asyncio.create_task(self._work())
            # The loop holds tasks weakly.
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    def close(self) -> None:
        """Let go of the threads; what they are at is finished."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _work(self) -> None:
        try:
            while self._questions:
                if self._seconds and len(self._questions) < self._most:
                    await asyncio.sleep(self._seconds)
                # Whoever has gone in the meantime is not answered.
                batch = [each for each in self._taken() if not each[1].done()]
                if batch:
                    await self._answer_batch(batch)
        finally:
            # Here and not when the task is over: between the two a question would find nobody at work for it.
            self._at_work -= 1

    async def _answer_batch(self, batch: Sequence[tuple[Q, asyncio.Future[A]]]) -> None:
        self._seen(len(batch))
        questions = [question for question, _ in batch]
        found = await asyncio.get_running_loop().run_in_executor(self._pool, self._answered, questions)
        for (_, future), answer in zip(batch, found, strict=True):
            if future.done():
                continue
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    def _taken(self) -> list[tuple[Q, asyncio.Future[A]]]:
        return [self._questions.popleft() for _ in range(min(self._most, len(self._questions)))]

    def _answered(self, questions: Sequence[Q]) -> list[A | Exception]:
        try:
            answers = list[A | Exception](self._answer(questions))
        except Exception as error:
            if len(questions) == 1:
                return [error]
        else:
            assert len(answers) == len(questions)
            return answers
        # Whoever is wrong is found in few steps, and all others are still answered together.
        middle = len(questions) // 2
        return self._answered(questions[:middle]) + self._answered(questions[middle:])
