"""Answers to requests: from the index by threads that share the work, through the language model by one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from glta_cli.answers.question import Question
from glta_cli.answers.run import Run
from glta_cli.core.progress import without_bars
from glta_cli.core.threads import permitted_threads
from glta_cli.web.gathering import Gatherer, QueueFullError
from glta_cli.web.limits import Limits
from glta_cli.web.live_run import LiveRun
from glta_cli.web.measures import Measures
from glta_cli.web.refusals import busy

T = TypeVar("T")

# One at work while another waits for the index's pages; more of them only take the processors from each other.
LEAST_THREADS, MOST_THREADS = 2, 4


class Service:
    """What is served, and how requests come to it.

    Attributes:
        stopping: whether the service was told to stop: it answers what it is asked, but wants to be asked no more.
    """

    def __init__(self, live: LiveRun, limits: Limits, measures: Measures) -> None:
        self.live = live
        self.measures = measures
        self.stopping = False
        self._index = Gatherer[Question, dict[str, Any]](
            self._answers,
            name="answers",
            threads=min(max(permitted_threads()[0], LEAST_THREADS), MOST_THREADS),
            most=limits.batch,
            seen=measures.batches.labels("index").observe,
        )
        self._language = Gatherer[Question, dict[str, Any]](
            self._answers,
            name="language-model",
            threads=1,
            most=limits.language_batch,
            waiting=limits.language_waiting,
            seconds=limits.language_gather_seconds,
            seen=measures.batches.labels("language model").observe,
        )
        measures.waiting.set_function(lambda: self._language.waiting)
        measures.interactions.set_function(lambda: live.current.known["interactions"] or 0)

    @property
    def run(self) -> Run:
        """What answers now."""
        return self.live.current

    async def recommend(self, question: Question) -> dict[str, Any]:
        """The answer to one question, found together with those of others.

        Raises:
            RefusedError: too many wait for the language model.
            GltaError: what is wrong with the question.
        """
        if not question.deep and question.wish is None:
            return await self._index.ask(question)
        try:
            return await self._language.ask(question)
        except QueueFullError:
            self.measures.refused.labels("language model").inc()
            raise busy("too many requests wait for the language model") from None

    async def from_run(self, find: Callable[[Run], T]) -> T:
        """What `find` finds in the run, in a thread."""
        return await asyncio.to_thread(find, self.run)

    def stop(self) -> None:
        """Want no further requests."""
        self.stopping = True

    def close(self) -> None:
        """Let go of the threads."""
        self._index.close()
        self._language.close()

    def _answers(self, questions: Sequence[Question]) -> Sequence[dict[str, Any] | Exception]:
        # All of a batch from one index, whatever is published meanwhile.
        with without_bars():
            return self.run.tried(questions)
