"""Questions of many callers are answered together, and each caller gets their own answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from glta_cli.core.errors import InputError
from glta_cli.web.gathering import Gatherer, QueueFullError


class Answers:
    """Squares of numbers; thirteen is refused. It can be held up."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.free = threading.Event()
        self.free.set()

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(list(numbers))
        assert self.free.wait(10)
        if 13 in numbers:
            raise InputError("13 is refused")
        return [number * number for number in numbers]


def gatherer(answers: Answers, **options: object) -> Gatherer[int, int]:
    return Gatherer(answers, **{"name": "test", "threads": 1, "most": 4, **options})  # type: ignore[arg-type]


async def held_up(answers: Answers, asked: Gatherer[int, int], *numbers: int) -> list[asyncio.Task[int]]:
    """The first number is being answered, the others wait."""
    answers.free.clear()
    tasks = []
    for number in numbers:
        tasks.append(asyncio.create_task(asked.ask(number)))
        await asyncio.sleep(0.02)
    return tasks


def test_what_is_asked_while_others_are_answered_goes_together_and_in_order() -> None:
    answers, sizes = Answers(), list[int]()

    async def ask() -> list[int]:
        tasks = await held_up(answers, gatherer(answers, seen=sizes.append), *range(8))
        answers.free.set()
        return await asyncio.gather(*tasks)

    assert asyncio.run(ask()) == [0, 1, 4, 9, 16, 25, 36, 49]
    assert answers.batches == [[0], [1, 2, 3, 4], [5, 6, 7]]
    assert sizes == [1, 4, 3]


def test_the_first_waits_for_others_where_that_is_wanted() -> None:
    answers = Answers()

    async def ask() -> list[int]:
        asked = gatherer(answers, seconds=0.05)
        return await asyncio.gather(*(asked.ask(number) for number in range(3)))

    assert asyncio.run(ask()) == [0, 1, 4]
    assert answers.batches == [[0, 1, 2]]


def test_a_wrong_question_is_refused_alone() -> None:
    answers = Answers()

    async def ask() -> list[int | BaseException]:
        tasks = await held_up(answers, gatherer(answers), 1, 12, 13, 14)
        answers.free.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    found = asyncio.run(ask())
    assert [found[0], found[1], found[3]] == [1, 144, 196]
    assert isinstance(found[2], InputError)


def test_whoever_comes_when_too_many_wait_is_refused_and_the_others_are_answered() -> None:
    answers = Answers()

    async def ask() -> list[int]:
        asked = gatherer(answers, waiting=2)
        tasks = await held_up(answers, asked, 1, 2, 3)
        with pytest.raises(QueueFullError):
            await asked.ask(4)
        answers.free.set()
        return await asyncio.gather(*tasks)

    assert asyncio.run(ask()) == [1, 4, 9]


def test_whoever_has_gone_is_not_answered() -> None:
    answers = Answers()

    async def ask() -> list[int]:
        tasks = await held_up(answers, gatherer(answers), 1, 2, 3)
        tasks[1].cancel()
        await asyncio.sleep(0)
        answers.free.set()
        return await asyncio.gather(tasks[0], tasks[2])

    assert asyncio.run(ask()) == [1, 9]
    assert answers.batches == [[1], [3]]


def test_a_question_asked_at_the_very_end_of_a_batch_is_answered() -> None:
    answers = Answers()

    async def ask() -> int:
        asked = gatherer(answers)
        return sum([await asked.ask(number % 7) for number in range(300)])

    assert asyncio.run(asyncio.wait_for(ask(), 20)) == sum((number % 7) ** 2 for number in range(300))
