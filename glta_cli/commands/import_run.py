"""`glta import`: a run that was exported elsewhere."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from glta_cli.commands.options import DataDirOption, JsonOption
from glta_cli.commands.stage import say_next
from glta_cli.core.counts import counted
from glta_cli.core.terminal import show_json


def import_run(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder of `glta export --format huggingface`.", show_default=False)
    ],
    run: Annotated[str | None, typer.Option("--run", metavar="NAME", help="Name of the run here.")] = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a run of an exported model.

    It answers and ranks as where it was exported, and is checked file by file on the way in.

    Example: glta import shop-model
    """
    from glta_cli.answers.model_import import import_run as made_of
    from glta_cli.core.printable import printable
    from glta_cli.workspace.workspace import Workspace

    made = made_of(folder, run, Workspace(data_dir))
    if as_json:
        show_json(asdict(made))
        return
    said = f"run {printable(made.run)} (dataset {printable(made.dataset)})"
    new = f"{said}: {counted(made.stages, 'stage')}, {made.new_stages} of them new here"
    print(new if made.new_stages or made.new else f"{said} is here already")
    say_next(["recommend", "--user", "ID"], made.run, data_dir)
