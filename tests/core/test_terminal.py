"""What a person sees: text that fits the terminal and does not command it."""

from __future__ import annotations

import os
import pty
import sys
import termios
import unicodedata
from collections.abc import Iterator
from typing import TextIO

import pytest

from glta_cli.core.terminal import cells, padded, printable, results_width, shortened


@pytest.fixture
def terminal() -> Iterator[TextIO]:
    """A new pseudo-terminal, which has no size yet."""
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as stream:
        yield stream
    os.close(master)


@pytest.mark.parametrize(("columns", "width"), [(0, None), (72, 72)])
def test_a_terminals_width_is_that_of_the_results_and_one_without_a_size_has_no_edge(
    terminal: TextIO, columns: int, width: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", terminal)
    termios.tcsetwinsize(terminal, (24, columns))
    assert os.get_terminal_size(terminal.fileno()).columns == columns
    assert results_width() == width


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Two\nlines\tand\r\nmore", "Two lines and  more"),
        ("\x1b[31mred\x1b[0m", " [31mred [0m"),
        ("\x9b2J\x7f", " 2J "),
        ("left\u202eright\u2028", "left right "),
        ("Amélie 映画 👩‍🚀", "Amélie 映画 👩‍🚀"),
    ],
)
def test_nothing_that_commands_a_terminal_is_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_no_control_character_is_printable() -> None:
    controls = [
        char for char in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(char) in ("Cc", "Zl", "Zp")
    ]
    assert set(printable("".join(controls))) == {" "}


@pytest.mark.parametrize("text", ["A long title", "映画の題名です", "été" * 9, "e\u0301" * 12, "x"])
@pytest.mark.parametrize("width", [1, 2, 5, 8, 40])
def test_text_is_cut_to_its_width_and_no_shorter_than_needed(text: str, width: int) -> None:
    short = shortened(text, width)
    assert cells(short) <= width
    if short != text:
        assert short.endswith("…")
        assert text.startswith(short[:-1])
        assert cells(short) >= width - 1  # a wide character may not fit into the last column
    else:
        assert cells(text) <= width
    assert cells(padded(text, width)) == width
    assert shortened(text, None) == text
