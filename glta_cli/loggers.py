"""The loggers a recipe lists, and what they are told when a stage ends."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glta_cli.details import histories, numbers
from glta_cli.errors import GltaError
from glta_cli.plugin import StageEnd, StageLogger
from glta_cli.recipe import Recipe
from glta_cli.registry import installed, reason_of
from glta_cli.selection import own_settings
from glta_cli.terminal import say


class Loggers:
    """All loggers of one run.

    Args:
        folder: of the run's logs; made where the recipe lists a logger.

    Raises:
        GltaError: a logger cannot be imported or made: said before hours of training, not after.
    """

    def __init__(self, run: str, recipe: Recipe, folder: Path) -> None:
        self.run = run
        self.recipe = recipe.model_dump(mode="json")
        self.loggers: dict[str, StageLogger] = {}
        if recipe.loggers:
            folder.mkdir(parents=True, exist_ok=True)
        for name, options in recipe.loggers.items():
            settings = own_settings("logger", name, options, ("loggers", name))
            self.loggers[name] = installed().find("logger", name).build(settings, folder)

    def stage_ended(self, stage: str, seconds: float, details: Mapping[str, Any], artefact: Path | None) -> None:
        """Tell every logger; one that fails is a warning, since what the stage did is done."""
        end = StageEnd(
            run=self.run,
            stage=stage,
            seconds=seconds,
            metrics=dict(numbers(details)),
            history=dict(histories(details)),
            recipe=self.recipe,
            artefact=artefact,
        )
        for name, logger in self.loggers.items():
            try:
                logger.stage_ended(end)
            except Exception as error:
                if os.environ.get("GLTA_STRICT_PLUGINS") == "1":
                    raise GltaError(f"logger '{name}' failed: {reason_of(error)}") from error
                from rich.markup import escape

                say(f"[yellow]warning[/]: logger '{escape(name)}' failed after {stage}: {escape(reason_of(error))}")
