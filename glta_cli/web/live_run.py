"""The run that is served, and the newer index of it that takes its place while requests go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from glta_cli.answers.run import Run
from glta_cli.core.errors import one_line
from glta_cli.core.terminal import say
from glta_cli.web.described import known_in_words
from glta_cli.web.measures import Measures

POLL_SECONDS: Final = 1.0
# The clock of files may be this many nanoseconds behind.
CLOCKS_APART: Final = 2_000_000_000

Stamp = tuple[int, int, int]


class LiveRun:
    """What a run answers from now.

    Whoever answers takes `current` once and keeps it: what is replaced lives until the last of them is done.

    Args:
        first: the run as it was opened at the start.
        file: the run's own file, which names what it answers from.
        opened: opens the run as it is published now, ready to answer at once; called in a thread.
        begun: when the first was begun to be opened, nanoseconds since 1970.
    """

    def __init__(self, first: Run, file: Path, opened: Callable[[], Run], begun: int, measures: Measures) -> None:
        self._current = first
        self._file = file
        self._opened = opened
        self._measures = measures
        stamp = self._stamp()
        # What was published while the first was opened is found by the first look.
        earlier = stamp is not None and stamp[-1] < begun - CLOCKS_APART
        self._seen = stamp if earlier else None
        self._told: Stamp | None = None

    @property
    def current(self) -> Run:
        """The run as of the last look."""
        return self._current

    @property
    def renewed(self) -> bool:
        """Whether the run's file was written after the last look: something newer may be published than what answers.

        False of what was looked at and cannot be opened, for then nothing takes its place soon.
        """
        stamp = self._stamp()
        return stamp is not None and stamp not in (self._seen, self._told)

    async def follow(self, seconds: float = POLL_SECONDS) -> None:
        """Look for a newly published index every so often, without end."""
        while True:
            await asyncio.sleep(seconds)
            stamp = self._stamp()
            if stamp is not None and stamp != self._seen:
                await asyncio.to_thread(self._take_up, stamp)

    def _take_up(self, stamp: Stamp) -> None:
        """Open what is published now; it takes the place of what was there once it can answer."""
        from rich.markup import escape

        try:
            found = self._opened()
        except Exception as error:
            # What answers now is whole: an index that cannot be opened is no reason to stop. The next look tries again.
            if stamp != self._told:
                self._told = stamp
                self._measures.updates.labels("failed").inc()
                say(f"[yellow]warning[/]: the newly published index is not taken up: {escape(one_line(str(error)))}")
            return
        self._seen = stamp
        if found.artefact.path == self._current.artefact.path:
            return
        self._current = found
        self._measures.updates.labels("taken up").inc()
        say(f"a new index is taken up: {escape(known_in_words(found))}")

    def _stamp(self) -> Stamp | None:
        """Changes whenever the run's file is written; None while there is none."""
        try:
            found = self._file.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns
