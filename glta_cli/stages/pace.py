"""Whether a stage keeps to the time that was told, seen by its bars; what differs is said while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from rich.markup import escape

from glta_cli.core.bars import Bar
from glta_cli.core.durations import shown_duration
from glta_cli.core.terminal import say
from glta_cli.stages.estimates import Estimate

# The first steps of a part are no measure: they are watched for so long, and where the longest come first, so far.
WATCHED_SECONDS: Final = 20.0
LONGEST_DONE: Final = 0.4
# A difference nobody minds: of the seconds that are left, as a factor and by themselves.
NOT_MINDED_FACTOR, NOT_MINDED_SECONDS = 1.5, 30.0


class Pace:
    """Watches the bars of one stage.

    Args:
        clock: seconds that pass.
        tell: says a line of rich markup.
    """

    def __init__(
        self,
        stage: str,
        estimate: Estimate,
        *,
        clock: Callable[[], float] = time.monotonic,
        tell: Callable[[str], object] = say,
    ) -> None:
        self._stage = stage
        self._estimate = estimate
        self._clock = clock
        self._tell = tell
        self._due = clock() + estimate.seconds
        self._watched: Bar | None = None
        self._since, self._done_then, self._next_look = 0.0, 0.0, 0.0

    def look(self, bar: Bar) -> None:
        """Take note of how far a bar is, and say it where the stage will be over much later than told, or earlier."""
        now = self._clock()
        if bar is not self._watched:
            if self._part(bar) is not None:
                # From its first step on: what came before it made ready.
                self._watched, self._since, self._done_then = bar, now, float(bar.n)
                self._next_look = now + WATCHED_SECONDS
            return
        if now < self._next_look or bar.n <= self._done_then or not bar.total:
            return
        self._next_look = now + WATCHED_SECONDS
        left = self._left(bar, float(bar.total), now)
        if left is None:
            return
        told = max(self._due - now, 1.0)
        slower, faster = left / told, told / max(left, 1.0)
        if max(slower, faster) > NOT_MINDED_FACTOR and abs(left - told) > NOT_MINDED_SECONDS:
            self._due = now + left
            self._tell(f"  {escape(self._stage)}: about {shown_duration(left)} left, not {shown_duration(told)}")

    def _part(self, bar: Bar) -> int | None:
        """Which part of the stage the bar shows; None for one that shows something else."""
        shown = str(getattr(bar, "desc", "")).strip().removesuffix(":")  # a quiet one has none
        return next((place for place, part in enumerate(self._estimate.parts) if part.bar == shown), None)

    def _left(self, bar: Bar, total: float, now: float) -> float | None:
        """Seconds until the stage is over, at the pace of this bar; None where that is no measure yet."""
        place = self._part(bar)
        if place is None:
            return None
        part, share = self._estimate.parts[place], bar.n / total
        if part.longest_first and share < LONGEST_DONE:
            return None
        rate = part.operations * (bar.n - self._done_then) / total / (now - self._since)
        rest = part.total * (1 - share) + sum(each.total for each in self._estimate.parts[place + 1 :])
        return rest / rate if rate else None
