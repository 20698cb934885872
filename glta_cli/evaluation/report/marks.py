"""How each model looks in every plot: a colour, a dash and a marker, so that no pair differs by colour alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from glta_cli.evaluation.baselines import LANGUAGE_ROW, MODEL_ROW

OWN_COLOURS = 3
BASELINE_COLOURS = 6
DASHES = ("5 3", "2 2", "8 3 2 3")
SHAPES = ("square", "diamond", "triangle", "cross")


@dataclass(frozen=True)
class Mark:
    """The look of one model.

    Attributes:
        colour: the page's class for it, `own-0` or `other-3`.
        dash: of its lines; empty for a whole line.
        shape: of its points.
        own: whether it is a row of the model itself.
    """

    colour: str
    dash: str
    shape: str
    own: bool


def model_marks(models: Iterable[str], encoder: str) -> dict[str, Mark]:
    """A mark for each model; the fused model, the language model and the encoder have the same in every report."""
    own = {MODEL_ROW: 0, LANGUAGE_ROW: 1, encoder: 2}
    marks: dict[str, Mark] = {}
    others = 0
    for name in models:
        if name in own:
            marks[name] = Mark(f"own-{own[name]}", "", "circle", own=True)
        else:
            cycle = others // BASELINE_COLOURS
            marks[name] = Mark(
                f"other-{others % BASELINE_COLOURS}",
                DASHES[(others + cycle) % len(DASHES)],
                SHAPES[(others + cycle) % len(SHAPES)],
                own=False,
            )
            others += 1
    return marks


PLAIN = Mark("own-0", "", "circle", own=True)
"""Of a plot with one line."""
