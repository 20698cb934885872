"""`--processes N`: a command as several processes of this machine."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from glta_cli.core.errors import InputError
from glta_cli.core.world import launched

ProcessesOption = Annotated[
    int | None,
    typer.Option(
        "--processes",
        metavar="N",
        min=1,
        help="Share the work among so many processes of this machine, on GPUs one each.",
    ),
]


def run_as_processes(count: int | None) -> None:
    """Where so many processes are asked for, start them, and end with their exit code once they have.

    Raises:
        InputError: a launcher started another number of them.
    """
    if count is None:
        return
    size = launched().size
    if size > 1 and size != count:
        raise InputError(
            f"{size} processes were started by a launcher",
            location=f"--processes {count}",
            hint="leave it out with torchrun and accelerate launch",
        )
    if count == 1 or size > 1:
        return
    from glta_cli.core.launching import run_in_processes

    raise SystemExit(run_in_processes(count, sys.argv[1:]))
