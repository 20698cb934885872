"""Reasons in a terminal: below each recommendation the items of the history that did most to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from glta_cli.core.printable import printable
from glta_cli.core.terminal import DIM, shortened, styled
from glta_cli.serving.reasons import EXACT, LEFT_OUT, WHOLE, WISH
from glta_cli.serving.served_row import LANGUAGE_ROW, POPULARITY

STRONGEST: Final = 3
# Below it a share would be shown as 0 %.
LEAST_SHARE: Final = 0.005
INDENT: Final = " " * 6
HEAD_LINES: Final = 2
SAID: Final = (
    (EXACT, "taken apart exactly"),
    (LEFT_OUT, "by what the score loses without the item, as of somebody new"),
)
# Of what is not taken apart.
SAID_OF = {POPULARITY: "the same for everyone", WISH: "what its words add, whoever asks"}


def with_reasons(ranking: Sequence[str], entries: Sequence[Mapping[str, Any]], width: int | None) -> list[str]:
    """A ranking with the reasons of each item below it, and what they mean below all.

    Args:
        ranking: its head, a rule, and a line an item.
    """
    lines = list(ranking[:HEAD_LINES])
    for line, entry in zip(ranking[HEAD_LINES:], entries, strict=True):
        lines += [line, *_strongest(entry["because"], width)]
    return [*lines, *_meaning(entries, width)]


def _strongest(because: Mapping[str, Any], width: int | None) -> Iterator[str]:
    """The strongest items of the history, one a line, each with its share of all that the history does."""
    for entry in because["history"][:STRONGEST]:
        share = entry["share"]
        if abs(share) >= LEAST_SHARE:
            against = "  pulls it down" if share < 0 else ""
            room = None if width is None else width - len(against)
            line = shortened(f"{INDENT}{f'{share:+.0%}':>5}  {printable(entry['title'])}", room)
            yield styled(line + against, DIM)


def _meaning(entries: Sequence[Mapping[str, Any]], width: int | None) -> list[str]:
    """What the shares are of, and which terms they are of; nothing where nothing is recommended."""
    if not entries:
        return []
    terms = entries[0]["because"]["terms"]
    lines = [""]
    if any(entry["because"]["history"] for entry in entries) and any(term["how"] != WHOLE for term in terms):
        lines.append("%: of all that the history does to the score, for it and against it")
    for how, said in SAID:
        names = [_called(term["row"]) for term in terms if term["how"] == how]
        if names:
            lines.append(f"{', '.join(names)}: {said}")
    whole = [term["row"] for term in terms if term["how"] == WHOLE]
    lines += [f"{_called(row)}: {SAID_OF.get(row, 'left whole; --deep takes it apart, slowly')}" for row in whole]
    return [styled(shortened(line, width), DIM) if line else line for line in lines]


def _called(row: str) -> str:
    """A row by its name; the language model's, which the answer's head calls by the model's, says whose it is."""
    return f"the language model ({row})" if row == LANGUAGE_ROW else printable(row)
