"""Axes of a plot: where data lands on the drawing, and which ticks are labelled how."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count

NICE = (1, 2, 5)
LEAST_DECADES = 3


@dataclass(frozen=True)
class Axis:
    """A scale from data to pixels.

    Attributes:
        low, high: the data shown; on a logarithmic axis both are positive.
        start, end: pixels of `low` and `high`.
        label: what it shows, with its unit.
    """

    low: float
    high: float
    start: float
    end: float
    label: str = ""
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """The pixel of a value."""
        low, high, value = (math.log(v) if self.logarithmic else v for v in (self.low, self.high, value))
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self, most: int = 6) -> list[tuple[float, str]]:
        """At most about that many round values inside the axis, with their texts."""
        if self.logarithmic:
            return [(tick, f"{tick:g}") for tick in decade_ticks(self.low, self.high, most + 1)]
        found = round_ticks(self.low, self.high, most)
        return list(zip(found, tick_labels(found), strict=True))


def linear_axis(
    values: Iterable[float], start: float, end: float, label: str = "", *, from_zero: bool = False, margin: float = 0.06
) -> Axis:
    """An axis that holds all values, with a margin at either end; of no or equal values, one around them."""
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    if from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        low, high = (0.0, 1.0) if low == 0 else (low - abs(low) / 10, high + abs(high) / 10)
    space = margin * (high - low)
    return Axis(low if from_zero and low == 0 else low - space, high + space, start, end, label)


def log_axis(values: Iterable[float], start: float, end: float, label: str = "") -> Axis:
    """A logarithmic axis that holds all values, which are positive, and at least one decade."""
    positive = list(values) or [1.0]
    low, high = min(positive) / 1.5, max(positive) * 1.5
    if high / low < 10:
        widen = math.sqrt(10 / (high / low))
        low, high = low / widen, high * widen
    return Axis(low, high, start, end, label, logarithmic=True)


def round_ticks(low: float, high: float, most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten from `low` to `high`, as dense as `most` of them allow."""
    smallest = math.floor(math.log10((high - low) / most)) - 1
    for step in (nice * 10.0**power for power in count(smallest) for nice in NICE):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            return [number * step for number in range(first, last + 1)]
    raise AssertionError("unreachable: steps grow beyond the range")


def decade_ticks(low: float, high: float, most: int) -> list[float]:
    """Powers of ten from `low` to `high`, thinned where there are too many, and 2 and 5 times them where few."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    powers = [10.0**decade for decade in decades if low <= 10.0**decade <= high]
    if len(powers) < LEAST_DECADES:
        return [nice * 10.0**decade for decade in decades for nice in NICE if low <= nice * 10.0**decade <= high]
    return powers[:: -(-len(powers) // most)]


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """Evenly spaced ticks as text, with as many decimals as tell neighbours apart."""
    if len(ticks) < 2:
        return [f"{tick:g}" for tick in ticks]
    decimals = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    return [f"{tick:,.{decimals}f}" for tick in ticks]
