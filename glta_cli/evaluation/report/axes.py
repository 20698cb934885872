"""Axes of a plot: where data lands on the drawing, and which ticks are labelled how."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

NICE = (1, 2, 5, 10)


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

    def ticks(self, most: int = 6) -> list[float]:
        """Round values inside the axis."""
        found = decade_ticks(self.low, self.high, most + 1) if self.logarithmic else round_ticks(self.low, self.high, most)
        slack = 1e-9 * (self.high - self.low)
        return [tick for tick in found if self.low - slack <= tick <= self.high + slack]


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
    """Multiples of 1, 2 or 5 times a power of ten, at most `most` of them."""
    rough = (high - low) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(nice * power for nice in NICE if nice * power >= rough * (1 - 1e-9))
    return [number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def decade_ticks(low: float, high: float, most: int) -> list[float]:
    """Powers of ten, thinned where there are too many, and 2 and 5 times them where there are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    powers = [10.0**power for power in range(first, last + 1, max(1, -(-(last - first) // most)))]
    if sum(low <= power <= high for power in powers) >= 3:
        return powers
    return sorted(nice * 10.0**power for power in range(first, last + 1) for nice in NICE[:3])


def tick_labels(ticks: list[float]) -> list[str]:
    """The ticks as text, with as many decimals as tell neighbours apart."""
    if not ticks:
        return []
    if max(map(abs, ticks)) >= 1e4:
        return [f"{tick:,.0f}" if abs(tick) < 1e6 else f"{tick:.0e}" for tick in ticks]
    if max(ticks) / max(min(ticks), 1e-12) > 50:  # a logarithmic axis
        return [f"{tick:g}" for tick in ticks]
    gap = min((second - first for first, second in pairwise(ticks)), default=1.0)
    decimals = max(0, -math.floor(math.log10(gap) + 1e-9))
    return [f"{tick:.{decimals}f}" for tick in ticks]
