"""Numbers with their nouns."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from glta_cli.core.counts import agreeing, counted


@pytest.mark.parametrize(
    ("number", "words", "told"),
    [
        (1, ("row",), "1 row"),
        (0, ("row",), "0 rows"),
        (12_000, ("test user",), "12,000 test users"),
        (1, ("row has", "rows have"), "1 row has"),
        (2, ("row has", "rows have"), "2 rows have"),
    ],
)
def test_a_noun_agrees_with_its_number(number: int, words: tuple[str, ...], told: str) -> None:
    assert counted(number, *words) == told
    assert agreeing(number, *words) == told.partition(" ")[2]


def test_no_sentence_has_a_counted_plural_of_its_own(repository: Path) -> None:
    """`f"{count:,} rows"` says `1 rows` of one: `counted` does not."""
    plural = re.compile(r"\{[^{}]*:,\} (rows|users|items|interactions|times|lines|files|ids|test users|problems)\b")
    files = [path for folder in ("glta_cli", "plugins") for path in (repository / folder).rglob("*.py")]
    found = {
        f"{path.relative_to(repository)}: {line.strip()}"
        for path in files
        if "testing" not in path.parts
        for line in path.read_text(encoding="utf-8").splitlines()
        if plural.search(line)
    }
    assert found == set()
