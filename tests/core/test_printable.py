"""Text of others is shown, and commands nothing."""

from __future__ import annotations

import subprocess
import unicodedata

import pytest

from glta_cli.core.errors import GltaError, InputError, InputErrors
from glta_cli.core.printable import HIDDEN, bounded, printable, shell_word, visible

HOSTILE = "a\x1b]0;title\x07b\x9b2J\x7f\u202ec\u200bd\u2028e\ufeff"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Amélie 映画 👩‍🚀 نمی‌خواهم", "Amélie 映画 👩‍🚀 نمی‌خواهم"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("left\u202eright", r"left\u202eright"),
        ("lo\u200bss, lo\u200css", r"lo\u200bss, lo\u200css"),
        ("two\nlines\tand \u2028", r"two\nlines\tand \u2028"),
        ("caf\udce9.yaml", r"caf\udce9.yaml"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_nobody_would_see_is_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_both_forms_leave_nothing_hidden() -> None:
    for character in map(chr, HIDDEN):
        assert printable(f"a{character}b") == "a b"
        assert visible(f"a{character}b").isascii()
    kept = [char for char in map(chr, HIDDEN) if unicodedata.category(char) not in ("Cc", "Cf", "Zl", "Zp", "Cn")]
    assert kept == []


@pytest.mark.parametrize("word", ["plain", "two words", "it's", "a\nb", "\x1b[31m", "back\\slash\n'", "\u202e"])
def test_a_word_for_the_shell_is_that_word_again(word: str) -> None:
    quoted = shell_word(word)
    assert quoted.isprintable()
    assert subprocess.run(["bash", "-c", f"printf %s {quoted}"], capture_output=True, text=True).stdout == word


def test_an_error_shows_what_the_users_files_hold_and_obeys_none_of_it() -> None:
    error = InputError(f"unknown key {HOSTILE}", location=f"{HOSTILE}.yaml:1:1", hint=f"did you mean '{HOSTILE}'?")
    shown = str(InputErrors([error, error]))
    assert len(shown.splitlines()) == 4
    assert all(line.isprintable() for line in shown.split("\n"))
    assert r"\x1b]0;title\x07" in shown


def test_the_lines_of_an_error_stay_its_own() -> None:
    error = GltaError("first\n  hint: run this\nas it is", hint="one\n  disabled: two\nthree")
    assert str(error) == "first hint: run this as it is\n  hint: one\n  disabled: two\\nthree"


def test_an_error_has_an_end() -> None:
    shown = str(GltaError("x" * 10**8, location="y" * 10**6, hint="z" * 10**6))
    assert len(shown) < 7_000
    assert "(99,998,000 characters left out)" in shown
    many = str(InputErrors([InputError(str(number)) for number in range(100_000)]))
    assert many.endswith("\n99\nand 99,900 more problems")
    assert bounded("short", 5) == "short"
