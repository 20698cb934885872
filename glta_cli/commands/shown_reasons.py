"""Reasons in a terminal: below each recommendation the items of the history that did most to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from glta_cli.core.printable import printable
from glta_cli.core.terminal import DIM, shortened, styled
from glta_cli.serving.reasons import EXACT, LEFT_OUT, WHOLE

STRONGEST: Final = 3
# Below it a share would be shown as 0 %.
LEAST_SHARE: Final = 0.005
INDENT: Final = " " * 7


def reason_lines(because: Mapping[str, Any], width: int | None) -> list[str]:
    """The strongest items of the history, one a line, each with its share of all that the history does to the score.

    A negative share is of an item that pulls the score down.
    """
    shown = [entry for entry in because["history"][:STRONGEST] if abs(entry["share"]) >= LEAST_SHARE]
    return [styled(shortened(f"{INDENT}{_share(entry['share'])}  {_named(entry)}", width), DIM) for entry in shown]


def how_lines(recommendations: Sequence[Mapping[str, Any]], width: int | None) -> list[str]:
    """What the shares below recommendations mean, and by which terms they are exact; nothing where there are none."""
    if not recommendations:
        return []
    terms = recommendations[0]["because"]["terms"]
    found = [(f"{', '.join(printable(t['row']) for t in terms if t['how'] == how)} {said}", how) for how, said in SAID]
    lines = [line for line, how in found if any(term["how"] == how for term in terms)]
    if any(entry["because"]["history"] for entry in recommendations):
        lines.insert(0, "%: an item's share of all that the history does to the score; −: it pulls it down")
    return [styled(shortened(line, width), DIM) for line in lines]


SAID: Final = (
    (EXACT, "taken apart exactly"),
    (LEFT_OUT, "by what the score loses without the item"),
    (WHOLE, "not taken apart"),
)


def _share(share: float) -> str:
    return f"{'−' if share < 0 else '+'}{abs(share) * 100:.0f} %".rjust(6)


def _named(entry: Mapping[str, Any]) -> str:
    against = ", which pulls it down" if entry["share"] < 0 else ""
    return f"{printable(entry['title'])}{against}"
