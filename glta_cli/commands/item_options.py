"""The options by which items are chosen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer

from glta_cli.core.terminal import say

OnlyOption = Annotated[
    str | None,
    typer.Option(
        "--only", metavar="FILE|ID,...", help="Answer with these items alone: ids or titles, or a file with one a line."
    ),
]
ExceptOption = Annotated[
    str | None, typer.Option("--except", metavar="FILE|ID,...", help="Never answer with these items, given likewise.")
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="CONDITION",
        help="Answer with items of which it holds, such as category=shoes, price<20 or 'brand=Acme or price<20'; of "
        "several, all do.",
    ),
]


def chosen_by(only: str | None, without: str | None, where: Sequence[str] | None) -> dict[str, Any]:
    """The parts of a question that choose items, by what the options say.

    Raises:
        InputError: a list cannot be read, or names nothing.
    """
    from glta_cli.answers.item_lists import items_listed

    return {
        "only": None if only is None else items_listed(only, "--only"),
        "without": () if without is None else items_listed(without, "--except"),
        "where": tuple(where or ()),
    }


def tell(remarks: Iterable[str]) -> None:
    """Say on stderr what is odd about a choice."""
    for remark in remarks:
        from rich.markup import escape

        say(f"[yellow]warning[/]: {escape(remark)}")
