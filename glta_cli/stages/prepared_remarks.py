"""What the log of a run says of its prepared dataset."""

from __future__ import annotations

from rich.markup import escape

from glta_cli.core.terminal import say
from glta_cli.data.account import in_one_line
from glta_cli.data.prepared import PreparedDataset
from glta_cli.stages.recipe_hints import as_overrides


def tell_prepared(prepared: PreparedDataset, *, up_to_date: bool) -> None:
    """Say on stderr whether it was there already, what came in, and what is odd about it.

    That there are no texts the run says itself, with what it does without.
    """
    say(f"[green]✓[/] prepare: {escape(prepared.name)} " + ("up to date" if up_to_date else "prepared"))
    if prepared.account is not None:
        say(escape(f"  {in_one_line(prepared.account)}"))
    for warning in prepared.warnings_beside_texts:
        say(f"[yellow]warning[/]: {escape(as_overrides(warning))}")
