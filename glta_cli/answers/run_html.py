"""A run as a notebook shows it: what it answers from, and how good each of its rows is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from glta_cli.answers.measured import METRIC

WIDTH, HEIGHT, NAMES, FIGURES = 420, 18, 130, 60
"""Of the picture, a bar, and what stands before and behind the bars, in pixels."""

LONGEST_NAME: Final = 18


def as_html(name: str, said: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """One element without a script or a style of its own, which takes a page's colours.

    Args:
        name: of the run.
        said: lines on it.
        rows: how good each of its rows is (`measured`).
    """
    lines = "<br>".join(map(escape, said))
    return f"<div><strong>run {escape(name)}</strong><br>{lines}{_bars(rows)}</div>"


def _bars(rows: Sequence[Mapping[str, Any]]) -> str:
    """NDCG@10 of each row as an inline picture; nothing where nothing was measured."""
    figures = [(str(row["row"]), float(row[METRIC])) for row in rows if METRIC in row]
    if not figures:
        return ""
    most = max(figure for _, figure in figures) or 1.0
    room = WIDTH - NAMES - FIGURES
    drawn = []
    for place, (name, figure) in enumerate(figures):
        middle = place * HEIGHT + HEIGHT / 2
        length = max(1.0, room * figure / most)
        shown = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
        drawn.append(
            f'<text x="{NAMES - 6}" y="{middle + 4}" text-anchor="end">{escape(shown)}</text>'
            f'<rect x="{NAMES}" y="{middle - 6}" width="{length:.1f}" height="12" opacity="0.6"/>'
            f'<text x="{NAMES + length + 6:.1f}" y="{middle + 4}">{figure:.4f}</text>'
        )
    told = ", ".join(f"{name} {figure:.4f}" for name, figure in figures)
    on = escape(str(rows[0]["on"]))
    size = f'width="{WIDTH}" height="{len(figures) * HEIGHT}"'
    style = 'fill="currentColor" font-size="12" font-family="sans-serif"'
    spoken = f'role="img" aria-label="NDCG@10 on {on}: {escape(told)}"'
    return f"<br><small>NDCG@10 on {on}</small><br><svg {spoken} {size} {style}>{''.join(drawn)}</svg>"
