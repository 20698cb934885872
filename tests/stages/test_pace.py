"""An estimate is mended as the stage runs, where its bars say that it was wrong."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from glta_cli.core.bars import Bar, bars_watched_by
from glta_cli.stages.estimates import Estimate
from glta_cli.stages.pace import Pace
from glta_cli.training.work import Part

TRAINING, READING = Part("fine-tune", 80.0, beside=20.0), Part("read out users", 100.0, longest_first=True)


class Watch:
    """A stage of which 1 operation a second was told, and what is said of it while its bars move."""

    def __init__(self, *parts: Part) -> None:
        self.now = 0.0
        self.said: list[str] = []
        estimate = Estimate(sum(part.total for part in parts), 1.0, parts, learnt=False)
        self.pace = Pace("finetune", estimate, clock=lambda: self.now, tell=self.said.append)

    def move(self, part: str, steps: int, seconds_each: Callable[[int], float], *, total: int = 100) -> None:
        with (
            bars_watched_by(self.pace.look),
            Bar(desc=f"  {part}", total=total, file=io.StringIO(), unit="steps") as bar,
        ):
            for step in range(steps):
                self.now += seconds_each(step)
                bar.update(1)


def test_a_stage_that_keeps_its_time_says_nothing() -> None:
    watch = Watch(TRAINING)
    watch.move("fine-tune", 100, lambda step: 0.8)
    assert watch.said == []


def test_one_that_is_slower_than_told_says_how_long_it_will_be_once() -> None:
    watch = Watch(Part("fine-tune", 600.0))
    watch.move("fine-tune", 60, lambda step: 24.0)
    # After 24 s a step, of 600 s told: 98 steps of 24 s are left.
    assert watch.said == ["  finetune: about 40 min left, not 9 min"]


def test_one_that_is_faster_says_so_too_and_parts_to_come_count() -> None:
    watch = Watch(Part("warm start", 500.0), Part("fine-tune", 500.0))
    watch.move("warm start", 30, lambda step: 1.0)
    assert watch.said == ["  finetune: about 3 min left, not 16 min"]


def test_where_the_longest_come_first_the_first_are_no_measure() -> None:
    watch = Watch(READING)
    watch.move("read out users", 39, lambda step: 3.0)
    assert watch.said == []
    watch.move("something else", 100, lambda step: 9.0)
    assert watch.said == []


def test_a_machine_that_gets_busy_is_told_again() -> None:
    watch = Watch(Part("fine-tune", 1000.0))
    watch.move("fine-tune", 90, lambda step: 30.0 if step < 20 else 300.0)
    assert len(watch.said) >= 2


@pytest.mark.parametrize("total", [None, 0])
def test_a_bar_without_an_end_is_no_measure(total: int | None) -> None:
    watch = Watch(TRAINING)
    watch.move("fine-tune", 50, lambda step: 99.0, total=total)  # type: ignore[arg-type]
    assert watch.said == []
