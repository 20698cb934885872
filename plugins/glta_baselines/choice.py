"""Numbers a baseline chooses itself: a short climb on validation, a setting at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter

from glta_cli.plugin import say

ONE_TWO_FIVE = tuple(float(f"{digit}e{power}") for power in range(-4, 9) for digit in (1, 2, 5))
# A trial that lasts as many seconds is one to be told of beforehand.
LASTS = 20.0
# What was chosen in this process, by what the choice follows from.
_chosen: dict[Hashable, dict[str, float]] = {}


@dataclass(frozen=True)
class Ladder:
    """The values a setting is chosen from.

    Attributes:
        values: ascending.
        start: where the climb begins, one of the values.
        unchosen: taken where there is nothing to choose by.
    """

    values: Sequence[float]
    start: float
    unchosen: float


def nearest(values: Sequence[float], value: float) -> float:
    """Of the values above zero the one at the smallest ratio to a value above zero."""
    return min((each for each in values if each > 0), key=lambda each: abs(math.log(each / value)))


@dataclass
class Climb:
    """A search from the start of each ladder, upwards first, then down, as long as validation gains.

    The quality of such a number has one peak, with little beside it: the search stops at the first value that is no
    better. What was tried is not tried again.

    Attributes:
        row: whose settings they are.
        quality: validation NDCG@10 of all numbers of the row.
        numbers: of every setting, chosen or given; the best so far.
        tried: quality by numbers, in the order of `numbers`.
    """

    row: str
    quality: Callable[[Mapping[str, float]], float]
    numbers: dict[str, float]
    tried: dict[tuple[float, ...], float] = field(default_factory=dict)

    def all_along(self, names: Sequence[str], ladders: Mapping[str, Ladder], most: int | None = None) -> None:
        """Move each setting to its best value, and once more while one moves and there are others."""
        for _ in range(2):
            moved = [self.along(name, ladders[name].values, most) for name in names]
            if len(names) < 2 or not any(moved):
                break

    def along(self, name: str, values: Sequence[float], most: int | None = None) -> bool:
        """Move one setting to its best value, the others as they are; whether it moved.

        Args:
            most: values to try beside the one it stands at; None for no end.
        """
        place = start = list(values).index(self.numbers[name])
        self.at(name, values[place])
        left = len(values) if most is None else most
        for step in (1, -1):
            while left and 0 <= place + step < len(values):
                left -= 1
                if self.at(name, values[place + step]) <= self.at(name, values[place]):
                    break
                place += step
            if place != start:
                break
        self.numbers[name] = values[place]
        return place != start

    def at(self, name: str, value: float) -> float:
        """The quality with one setting at that value, the others as they are."""
        numbers = {**self.numbers, name: value}
        key = tuple(numbers.values())
        if key not in self.tried:
            began = perf_counter()
            self.tried[key] = self.quality(numbers)
            seconds = perf_counter() - began
            if len(self.tried) == 1 and seconds > LASTS:
                say(f"  {self.row}: one trial took {seconds:,.0f} s, and several follow")
        return self.tried[key]

    def tell(self, names: Sequence[str]) -> None:
        """Say what was chosen for these settings."""
        best = self.tried[tuple(self.numbers.values())]
        chosen = ", ".join(f"{name} {self.numbers[name]:g}" for name in names)
        say(f"  {self.row}: {chosen}")
        say(f"    (validation NDCG@10 {best:.4f}, the best of {len(self.tried)} tried)")


def unchosen(
    row: str, automatic: Sequence[str], ladders: Mapping[str, Ladder], why: str = "no validation to choose by"
) -> dict[str, float]:
    """The numbers a row takes where none are chosen; said."""
    numbers = {name: ladders[name].unchosen for name in automatic}
    say(f"  {row}: {why}, so {', '.join(f'{name} {value:g}' for name, value in numbers.items())}")
    return numbers


def begun(
    row: str,
    quality: Callable[[Mapping[str, float]], float],
    numbers: Mapping[str, float],
    automatic: Sequence[str],
    ladders: Mapping[str, Ladder],
) -> Climb:
    """A climb from where the ladders of the automatic settings start; said.

    Args:
        numbers: of every setting, in the order the row has them; those of automatic ones are replaced.
    """
    say(f"  {row}: {', '.join(automatic)} {'is' if len(automatic) == 1 else 'are'} chosen on validation")
    return Climb(row, quality, {**numbers, **{name: ladders[name].start for name in automatic}})


def chosen_once(
    row: str, automatic: Sequence[str], source: Hashable, choose: Callable[[], dict[str, float]]
) -> dict[str, float]:
    """The numbers of a row, chosen the first time in a process alone; the next time said.

    Args:
        source: all that the choice follows from, beside the row.
    """
    key = (row, source)
    if key not in _chosen:
        _chosen[key] = choose()
    else:
        told = ", ".join(f"{name} {_chosen[key][name]:g}" for name in automatic)
        say(f"  {row}: {told}, as was chosen before")
    return dict(_chosen[key])
