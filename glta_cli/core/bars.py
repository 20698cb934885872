"""What a progress bar looks like: one line that keeps its figures however narrow the terminal is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from glta_cli.core.interruption import stop_if_asked
from glta_cli.core.terminal import cells, shortened

# Columns of the blocks, at most and at least; with fewer there are none.
WIDEST, NARROWEST = 20, 4
SHORTEST_NAME = 16
# Where there is no edge.
NO_EDGE = 100
EIGHTHS = " ▏▎▍▌▋▊▉█"


# Who looks on while bars move.
_watchers: list[Callable[[Bar], object]] = []


@contextmanager
def bars_watched_by(watch: Callable[[Bar], object]) -> Iterator[None]:
    """Inside, `watch` is called with each bar whenever it was moved, many times a second."""
    _watchers.append(watch)
    try:
        yield
    finally:
        _watchers.remove(watch)


class Bar(tqdm):
    """A progress bar.

    Args:
        stops: whether a signal that came is obeyed when it is moved.
        settings: of a `tqdm`.
    """

    def __init__(self, *, stops: bool = True, **settings: Any) -> None:
        self.stops = stops
        self.counted: str | None = None
        self.notes = ""
        super().__init__(**settings)

    def update(self, n: float | None = 1) -> bool | None:
        """Count `n` more; raises `InterruptedRunError` where somebody asked to stop, and it is one that stops."""
        shown = super().update(n)
        for watch in _watchers:
            watch(self)
        if self.stops:
            stop_if_asked()
        return shown

    def tell(self, counted: str | None, notes: str) -> None:
        """Say what it has come to: `counted` in place of its own count, and figures, from its next drawing on."""
        self.counted, self.notes = counted, notes

    def end_here(self) -> None:
        """Whatever was to come is left out: it is whole."""
        self.total = self.n
        self.refresh()

    def __str__(self) -> str:
        state = self.format_dict
        elapsed, rate = float(state["elapsed"]), state["rate"]
        done, total = float(self.n), float(self.total or 0)
        moved = done - float(self.initial)
        rate = rate or (moved / elapsed if elapsed and moved else None)
        left = (total - done) / rate if rate and total else None
        return meter(
            str(self.desc).removesuffix(": "),
            self.counted or self._count(),
            done / total if total else None,
            elapsed,
            left,
            self.notes or self._rate(rate),
            width=(state["ncols"] - 1) if state["ncols"] else NO_EDGE,
            ascii_only=bool(self.ascii),
        )

    def _count(self) -> str:
        if self.unit_scale:
            done, total = (tqdm.format_sizeof(value or 0, divisor=1000) for value in (self.n, self.total))
            return f"{done}/{total} {self.unit}" if self.total else f"{done} {self.unit}"
        return f"{self.n:,}/{self.total:,} {self.unit}" if self.total else f"{self.n:,} {self.unit}"

    def _rate(self, rate: float | None) -> str:
        if not rate:
            return ""
        if self.unit_scale:
            return f"{tqdm.format_sizeof(rate, divisor=1000)} {self.unit}/s"
        return f"{rate:,.{0 if rate >= 100 else 1}f}/s" if rate >= 1 else f"{1 / rate:.1f} s each"


def meter(
    name: str,
    counted: str,
    share: float | None,
    elapsed: float,
    left: float | None,
    notes: str,
    *,
    width: int,
    ascii_only: bool = False,
) -> str:
    """One line of at most `width` columns: where it is narrow the blocks go, then words; the figures at its end stay.

    Args:
        share: of the whole that is done, 0 to 1; None where the whole is not known.
        elapsed, left: seconds; None where nobody can know.
    """
    over = share is not None and share >= 1
    clock = tqdm.format_interval(elapsed)
    if not over and share is not None:
        clock += "<" + ("?" if left is None else tqdm.format_interval(left))
    percent = "" if share is None else f"{share:4.0%}"

    def line(shown_name: str, shown_count: str, blocks: str, shown_clock: str) -> str:
        parts = (shown_name, shown_count, blocks, percent, shown_clock, notes)
        return " ".join(part for part in parts if part.strip())

    free = width - cells(line(name, counted, "", clock)) - 1
    if free >= NARROWEST and share is not None:
        return line(name, counted, _blocks(share, min(free, WIDEST), ascii_only), clock)
    count = counted.partition(" ")[0]
    for shown_count, shown_clock in ((counted, clock), (count, clock), (count, "")):
        room = width - cells(line("", shown_count, "", shown_clock)) - 1
        if room >= min(SHORTEST_NAME, cells(name)):
            return line(shortened(name, room), shown_count, "", shown_clock)
    return shortened(line("", count, "", ""), max(1, width))


def _blocks(share: float, width: int, ascii_only: bool) -> str:
    filled = min(max(share, 0.0), 1.0) * width
    whole = int(filled)
    if ascii_only:
        return "#" * whole + "." * (width - whole)
    part = EIGHTHS[int((filled - whole) * 8)] if whole < width else ""
    return ("█" * whole + part).ljust(width)
