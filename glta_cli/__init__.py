"""Graph-Language Token Alignment: large recommendation models, trained and served from a shell or Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from glta_cli.answers.run import Run

__version__ = "0.2.0.dev0"


def load(run: str | None = None, data_dir: str | Path | None = None) -> Run:
    """A finished run to ask from Python: see `glta_cli.answers.run.Run`.

    Args:
        run: its name; None for the latest finished one.
        data_dir: where datasets and runs live; None for GLTA_DATA_DIR, else the usual place.

    Raises:
        InputError: there is none, or it has published nothing to answer from.

    Example:
        import glta_cli

        glta_cli.load("shop").recommend(["C-1029"], k=10)
    """
    from glta_cli.answers.run import Run

    return Run.load(run, data_dir)
