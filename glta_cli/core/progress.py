"""Progress bars: what is asked for when a bar is made. What they look like stands in `bars.py`, which imports tqdm."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from glta_cli.core.interruption import stops_after
from glta_cli.core.printable import printable
from glta_cli.core.terminal import is_quiet, takes_colours, takes_escapes

if TYPE_CHECKING:
    from glta_cli.core.bars import Bar

# What is over in less is not worth a line of its own below another bar.
DELAY_SECONDS, DELAY_SECONDS_IN_A_FILE = 2.0, 30.0

# Who makes the bars: the innermost of those that asked to, such as a profile that watches what moves them.
_bar_makers: list[Callable[..., Bar]] = []


@contextmanager
def bars_made_by(make: Callable[..., Bar]) -> Iterator[None]:
    """Inside, progress bars are what `make` returns, given `around_others` and the settings of a `Bar` by keyword."""
    _bar_makers.append(make)
    try:
        yield
    finally:
        _bar_makers.remove(make)


_shown: ContextVar[bool] = ContextVar("_shown", default=True)


@contextmanager
def without_bars() -> Iterator[None]:
    """Inside, in this thread alone, progress bars are not shown: nobody sits before what a service does for others."""
    before = _shown.set(False)
    try:
        yield
    finally:
        _shown.reset(before)


@contextmanager
def progress_bar(
    total: int,
    description: str,
    unit: str,
    *,
    done: int = 0,
    around_others: bool = False,
    within_another: bool = False,
    stops: bool = True,
    step: str = "this step",
    kept: str | Callable[[], str] | None = None,
    now: str | None = None,
) -> Iterator[Bar]:
    """A bar on stderr with rate and remaining time; calm where stderr is a file, and none where nothing is to be said.

    Ctrl-C and SIGTERM are answered while it is there, and obeyed when it is next moved.

    Args:
        done: was done before.
        around_others: it counts what has bars of its own, such as whole trainings: a profile records theirs.
        within_another: a part of what another bar counts: shown where it lasts, and gone when it is over.
        stops: whether `update` raises `InterruptedRunError`; else who moves it asks for itself.
        step, kept, now: as `stops_after` takes them.
    """
    from glta_cli.core.bars import Bar

    interactive = takes_escapes(sys.stderr)
    settings: dict[str, Any] = {
        "total": total,
        "initial": done,
        "desc": f"  {printable(description)}",
        "unit": unit,
        "file": sys.stderr,
        "leave": not within_another,
        "dynamic_ncols": interactive,
        "mininterval": 0.2 if interactive else 10.0,
        "disable": is_quiet() or not _shown.get(),
        "stops": stops,
    }
    if within_another:
        settings["delay"] = DELAY_SECONDS if interactive else DELAY_SECONDS_IN_A_FILE
    if not interactive or not takes_colours():
        # A bar inside another would move the cursor up and down to its own line.
        settings["position"] = 0
    watched = bool(_bar_makers) and not within_another
    with stops_after(step, kept=kept, now=now):
        made = _bar_makers[-1](around_others=around_others, **settings) if watched else Bar(**settings)
        with made as bar:
            yield bar
