"""Tables in places of every width: a figure is whole or the test fails."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import termios
from io import StringIO

import pytest
from rich.console import Console, Group
from rich.table import Table

from glta_cli.core.tables import fitted

NAME = "a-variant-with-a-rather-long-name-that-says-what-it-changes"
METRICS = ("ndcg\n@10", "ndcg\n@20", "recall\n@10", "recall\n@20", "prec.\n@10", "prec.\n@20")
PRINTS = """
from glta_cli.core.standard_streams import open_streams
open_streams()
from glta_cli.core.progress import progress_bar
from glta_cli.core.terminal import BOLD, say, show_json, show_table, show_text, styled
"""


def metrics_table() -> Table:
    table = Table(title="[bold]a title that is wider than a narrow terminal", caption="a caption", pad_edge=False)
    table.add_column("model", no_wrap=True)
    for name in METRICS:
        table.add_column(name, justify="right", no_wrap=True)
    for row in range(3):
        table.add_row(f"{NAME}-{row}", *(f"0.{row}{column}37\n±0.{row}{column}91" for column in range(6)))
    return table


def text_of(shown: Table | Group, width: int | None) -> str:
    written = StringIO()
    console = Console(file=written, width=width or 10_000, emoji=False)
    for part in fitted(shown, width):
        console.print(part, crop=False)
    return written.getvalue()


def in_a_terminal(code: str, columns: int, **environment: str) -> str:
    """What a program prints on a pseudo-terminal of that width."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, columns))
    clean = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-c", PRINTS + code],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**clean, "TERM": "xterm-256color", **environment},
    )
    os.close(slave)
    printed = b""
    while True:
        try:
            some = os.read(master, 65536)
        except OSError:  # how Linux says that nobody has the other end any more
            break
        if not some:
            break
        printed += some
    os.close(master)
    assert process.wait(timeout=30) == 0, printed
    return printed.decode()


@pytest.mark.parametrize("width", [None, 30, 40, 45, 50, 80, 200])
def test_every_figure_is_whole_in_every_width(width: int | None) -> None:
    shown = text_of(metrics_table(), width)
    assert sorted(re.findall(r"(?<![±\d])0\.\d{4}", shown)) == sorted(f"0.{r}{c}37" for r in range(3) for c in range(6))
    assert sorted(re.findall(r"±0\.\d{4}", shown)) == sorted(f"±0.{r}{c}91" for r in range(3) for c in range(6))
    if width is not None:
        assert max(map(len, shown.splitlines())) <= width


def test_without_an_edge_no_line_wraps() -> None:
    shown = text_of(metrics_table(), None)
    assert all(f"{NAME}-{row}" in shown for row in range(3))
    assert len(shown.splitlines()) == len(text_of(metrics_table(), 200).splitlines())


@pytest.mark.parametrize("width", [25, 40, 60])
def test_a_name_that_wraps_loses_no_letter(width: int) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("figure", justify="right")
    table.add_row(NAME, "1,234,567")
    shown = text_of(table, width)
    assert "1,234,567" in shown
    assert "".join(shown.replace("1,234,567", "").split()) == f"namefigure{NAME}"


def test_what_a_cell_holds_commands_no_terminal() -> None:
    table = Table(title="t\x1b[2J")
    table.add_column("c\x9b")
    table.add_row("a\x1b]0;b\x07\u202e\u200b")
    shown = text_of(Group(table, "l\x1bine"), 80)
    assert all(line.isprintable() for line in shown.splitlines())
    assert ":smile:" in text_of(Group(":smile:"), None)


@pytest.mark.parametrize("term", ["xterm", "dumb"])
@pytest.mark.parametrize("columns", [40, 50])
def test_a_narrow_terminal_shows_every_figure(columns: int, term: str) -> None:
    code = (
        "from rich.table import Table\n"
        "table = Table('model', pad_edge=False, caption='so many words that they do not fit into one line of it')\n"
        "for name in 'abcdefgh': table.add_column(name, justify='right')\n"
        f"table.add_row({NAME!r}, *(f'0.{{n}}123' for n in range(8)))\n"
        "show_table(table); show_table(table, on_stderr=True)"
    )
    plain = re.sub(r"\x1b\[[\d;]*m", "", in_a_terminal(code, columns, TERM=term))
    assert sorted(re.findall(r"0\.\d{4}", plain)) == sorted([f"0.{n}123" for n in range(8)] * 2)
    assert max(map(len, plain.splitlines())) <= columns


SHOWN = (
    "from rich.table import Table\n"
    "table = Table('model', title='t'); table.add_row('[bold red]x[/]'); show_table(table)\n"
    "say('[green]done[/]'); print(styled('head', BOLD))\n"
    "with progress_bar(2, 'outer', 'rows') as outer:\n"
    "    with progress_bar(2, 'inner', 'rows') as inner: inner.update(2)\n"
    "    outer.update(2)\n"
)


def test_a_terminal_gets_colours() -> None:
    assert "\x1b[1mhead\x1b[0m" in in_a_terminal(SHOWN, 80)
    assert "\x1b[" in in_a_terminal(SHOWN, 80).partition("head")[0]
    # An empty NO_COLOR asks for nothing.
    assert "\x1b[1mhead\x1b[0m" in in_a_terminal(SHOWN, 80, NO_COLOR="")


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_that_only_prints_lines_gets_no_escapes(term: str) -> None:
    shown = in_a_terminal(SHOWN, 80, TERM=term)
    assert "\x1b" not in shown
    assert "head" in shown


def test_no_colour_means_no_styles() -> None:
    shown = in_a_terminal(SHOWN, 80, NO_COLOR="1")
    assert "\x1b" not in shown
    assert "head" in shown


def test_what_is_copied_from_a_terminal_commands_none() -> None:
    shown = in_a_terminal(r"show_text('key: \x1b[2J\n\tv'); show_json(['é\x9b\u202e'])", 80)
    assert "\x1b" not in shown
    assert r"key: \x1b[2J" in shown
    assert r'"é\u009b\u202e"' in shown


def test_a_name_goes_on_in_the_next_line_behind_a_hyphen() -> None:
    code = (
        "from rich.table import Table\n"
        "table = Table('dataset', 'what', pad_edge=False)\n"
        "table.add_row('amazon-grocery-and-gourmet-food', 'what people buy to eat, and then some more of it')\n"
        "show_table(table)"
    )
    plain = re.sub(r"\x1b\[[\d;]*m", "", in_a_terminal(code, 40))
    words = {word for line in plain.splitlines() for word in line.replace("│", " ").split()}
    assert "amazon-grocery-and-gourmet-food" not in words
    assert {"people", "eat,"} <= words
    assert {"amazon-grocery-", "and-gourmet-food"} <= words
