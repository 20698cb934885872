"""What a person sees: results on stdout, progress and remarks on stderr."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import TYPE_CHECKING, Any, Literal, TextIO

from glta_cli.core.printable import printable as printable
from glta_cli.core.printable import visible

# rich and tqdm are imported inside the functions: `glta --help` prints with neither.
if TYPE_CHECKING:
    from rich.console import Console, RenderableType


def remarks() -> Console:
    """The console for logs and errors: stderr."""
    from rich.console import Console

    return Console(file=sys.stderr, highlight=False, emoji=False, soft_wrap=True, color_system=_colours())


# What quiet leaves, whatever styles it begins with.
WORTH_SAYING = re.compile(r"\s*(\[[^\]]*\]\s*)*(warning|error)\b", re.IGNORECASE)


def is_quiet() -> bool:
    """Whether results, warnings and errors are all that is to be said: `--quiet`, or GLTA_QUIET=1."""
    return os.environ.get("GLTA_QUIET") == "1"


def say(message: str) -> None:
    """One line of log on stderr; `message` is rich markup. In quiet only one that begins with `warning` or `error`.

    Example:
        from rich.markup import escape

        from glta_cli.plugin import say

        say(f"[yellow]warning[/]: {escape('[mirror] is slow')}")
    """
    if is_quiet() and not WORTH_SAYING.match(message):
        return
    # Bars exist only where tqdm was imported; on a terminal they make way for the line.
    bars = sys.modules.get("tqdm")
    with nullcontext() if bars is None else bars.tqdm.external_write_mode(file=sys.stderr):
        remarks().print(visible(message, keep="\n"))


def show_json(content: Any) -> None:
    """JSON on stdout: original characters where its encoding has them all, else the same content in ASCII."""
    text = json.dumps(content, indent=2, ensure_ascii=False)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(content, indent=2)
    else:
        if not text.isascii() and sys.stdout.isatty():
            text = _without_commands(text)
    sys.stdout.write(text + "\n")


def _without_commands(text: str) -> str:
    """JSON that says the same, with what a terminal would obey as escapes of JSON."""
    return "".join(char if char == "\n" or visible(char) == char else json.dumps(char)[1:-1] for char in text)


def show_table(shown: RenderableType, *, on_stderr: bool = False) -> None:
    """A rich table, or a group of tables and lines, on stdout: the only way a table is shown.

    A figure is never shortened: where the terminal is narrow names wrap, and then columns move into a table below.
    A pipe or a file has no edge, so nothing wraps there, unless COLUMNS says where to.

    Args:
        on_stderr: it belongs to the remarks, and is no result.
    """
    if on_stderr and is_quiet():
        return
    from rich.console import Console

    from glta_cli.core.tables import fitted

    stream = sys.stderr if on_stderr else sys.stdout
    width = _width(stream) or _columns_asked_for()
    console = Console(
        file=stream, highlight=False, emoji=False, color_system=_colours(), width=width or NO_EDGE, height=HEIGHT
    )
    for part in fitted(shown, width):
        console.print(part, crop=False)


def show_text(text: str) -> None:
    """Text to be copied, such as a recipe or a path, on stdout: as it is, but for what would command a terminal."""
    sys.stdout.write((visible(text, keep="\n\t") if sys.stdout.isatty() else text) + "\n")


@contextmanager
def nothing_on_stdout() -> Iterator[None]:
    """What is printed inside, such as by code of a plugin, goes to stderr: stdout holds results and nothing else."""
    with redirect_stdout(sys.stderr):
        yield


# ------------------------------------------------------------------ text that must not wait for the import of rich

BOLD, DIM, CYAN = "1", "2", "36"
DUMB = frozenset({"dumb", "unknown"})
# Columns rich is to reckon with where there is no edge.
NO_EDGE = 1_000_000
# Nothing depends on it, but without one rich takes a dumb terminal for 80 columns wide, whatever it is told.
HEIGHT = 25


def styled(text: str, style: str) -> str:
    """`text` in an ANSI style where stdout is a terminal that takes them and colours are not unwanted."""
    return f"\x1b[{style}m{text}\x1b[0m" if takes_escapes(sys.stdout) and _colours() else text


def takes_escapes(stream: TextIO) -> bool:
    """Whether it is a terminal that can do more than print lines."""
    return stream.isatty() and os.environ.get("TERM", "").lower() not in DUMB


def takes_colours() -> bool:
    """Whether colours, and what else moves on a terminal, are not unwanted: NO_COLOR."""
    return _colours() is not None


def _colours() -> Literal["auto"] | None:
    """The colours to use, as rich calls them: none where NO_COLOR is set to anything, and then no bold either."""
    return None if os.environ.get("NO_COLOR") else "auto"


def results_width() -> int | None:
    """Columns of the terminal stdout is; None where it has no edge: a file, a pipe, a terminal that has no size."""
    return _width(sys.stdout)


def _width(stream: TextIO) -> int | None:
    return os.get_terminal_size(stream.fileno()).columns or None if stream.isatty() else None


def _columns_asked_for() -> int | None:
    asked = os.environ.get("COLUMNS", "")
    return (int(asked) or None) if asked.isdecimal() else None


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
