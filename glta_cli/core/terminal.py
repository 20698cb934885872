"""What a person sees: results on stdout, progress and remarks on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import TYPE_CHECKING, Any

# rich and tqdm are imported inside the functions: `glta --help` prints with neither.
if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from tqdm import tqdm


def results() -> Console:
    """The console for results: stdout."""
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False)


def remarks() -> Console:
    """The console for logs and errors: stderr."""
    from rich.console import Console

    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def say(message: str) -> None:
    """One line of log on stderr; `message` is rich markup.

    Example:
        from rich.markup import escape

        from glta_cli.plugin import say

        say(f"[yellow]warning[/]: {escape('[mirror] is slow')}")
    """
    # Bars exist only where tqdm was imported; on a terminal they make way for the line.
    bars = sys.modules.get("tqdm")
    with nullcontext() if bars is None else bars.tqdm.external_write_mode(file=sys.stderr):
        remarks().print(message)


def show_json(content: Any) -> None:
    """JSON on stdout, original characters kept."""
    sys.stdout.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def show_table(table: RenderableType) -> None:
    """A rich table on stdout."""
    results().print(table)


@contextmanager
def nothing_on_stdout() -> Iterator[None]:
    """What is printed inside, such as by code of a plugin, goes to stderr: stdout holds results and nothing else."""
    with redirect_stdout(sys.stderr):
        yield


# ------------------------------------------------------------------ text that must not wait for the import of rich

BOLD, DIM, CYAN = "1", "2", "36"


def styled(text: str, style: str) -> str:
    """`text` in an ANSI style where stdout is a terminal and colours are not unwanted."""
    return f"\x1b[{style}m{text}\x1b[0m" if sys.stdout.isatty() and "NO_COLOR" not in os.environ else text


def results_width() -> int | None:
    """Columns of the terminal stdout is; None where it has no edge: a file, a pipe, a terminal that has no size."""
    return os.get_terminal_size(sys.stdout.fileno()).columns or None if sys.stdout.isatty() else None


# C0 and C1 controls, line and paragraph separators, and the marks that turn the direction of what follows.
CONTROLS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A)], " ")


def printable(text: str) -> str:
    """`text` on one line, with a blank for each character that would command the terminal rather than be shown."""
    return text.translate(CONTROLS)


def cells(text: str) -> int:
    """Columns a text takes in a terminal: East Asian wide characters take two, combining marks none."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(each) else 2 if east_asian_width(each) in "WF" else 1 for each in text)


def shortened(text: str, width: int | None) -> str:
    """`text`, cut with an ellipsis where it takes more than `width` columns; None cuts nothing."""
    if width is None or cells(text) <= width:
        return text
    left = width - 1
    kept = ""
    for each in text:
        left -= cells(each)
        if left < 0:
            break
        kept += each
    return kept + "…"


def padded(text: str, width: int) -> str:
    """`text` filled with blanks to `width` columns, or cut there with an ellipsis."""
    text = shortened(text, width)
    return text + " " * (width - cells(text))


# --------------------------------------------------------------------------------------------------------- progress


# Who makes the bars: the innermost of those that asked to, such as a profile that watches what moves them.
_bar_makers: list[Callable[..., tqdm[Any]]] = []


@contextmanager
def bars_made_by(make: Callable[..., tqdm[Any]]) -> Iterator[None]:
    """Inside, progress bars are what `make` returns, given `around_others` and the settings of a `tqdm` by keyword."""
    _bar_makers.append(make)
    try:
        yield
    finally:
        _bar_makers.remove(make)


def progress_bar(total: int, description: str, unit: str, *, done: int = 0, around_others: bool = False) -> tqdm[Any]:
    """A bar on stderr with rate and remaining time; calm where stderr is a file.

    Args:
        done: was done before.
        around_others: it counts what has bars of its own, such as whole trainings: a profile records theirs.
    """
    from tqdm import tqdm

    interactive = sys.stderr.isatty()
    settings: dict[str, Any] = {
        "total": total,
        "initial": done,
        "desc": f"  {description}",
        "unit": f" {unit}",
        "file": sys.stderr,
        "leave": True,
        "dynamic_ncols": interactive,
        "mininterval": 0.2 if interactive else 10.0,
    }
    return _bar_makers[-1](around_others=around_others, **settings) if _bar_makers else tqdm(**settings)
