"""The loggers a recipe lists, and what they are told when a stage ends."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from glta_cli.core.errors import GltaError
from glta_cli.core.terminal import nothing_on_stdout, say
from glta_cli.plugin import StageEnd, StageLogger
from glta_cli.plugin.component import ENDED, reason_of
from glta_cli.plugin.discovery import strict
from glta_cli.plugin.registry import installed
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.selection import own_settings
from glta_cli.workspace.details import histories, numbers
from glta_cli.workspace.workspace import Workspace


class Loggers:
    """All loggers of one run.

    Args:
        workspace: has the run's folder for logs, made where the recipe lists a logger.

    Raises:
        InputError: a logger is unknown or wrongly set, or there can be no folder for a run of that name.
        GltaError: a logger cannot be imported or made: said before hours of training, not after.
    """

    def __init__(self, run: str, recipe: Recipe, workspace: Workspace) -> None:
        self.run = run
        self.recipe = recipe.model_dump(mode="json")
        self.loggers: dict[str, StageLogger] = {}
        for name, options in recipe.loggers.items():
            folder = workspace.run_folder("logs", run)
            settings = own_settings("logger", name, options, ("loggers", name))
            self.loggers[name] = installed().find("logger", name).build(settings, folder)

    @nothing_on_stdout()
    def stage_ended(self, stage: str, seconds: float, details: Mapping[str, Any], artefact: Path | None) -> None:
        """Tell every logger; one that fails is a warning, since what the stage did is done.

        Raises:
            GltaError: one failed, and GLTA_STRICT_PLUGINS is set.
        """
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
                # A copy for each: the manifest and the other loggers keep what this one changes.
                logger.stage_ended(deepcopy(end))
            except ENDED:
                raise
            except BaseException as error:
                if strict():
                    raise GltaError(f"logger '{name}' failed: {reason_of(error)}") from error
                from rich.markup import escape

                say(f"[yellow]warning[/]: logger '{escape(name)}' failed after {stage}: {escape(reason_of(error))}")
