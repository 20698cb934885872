"""Where the page is written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glta_cli.core.errors import InputError
from glta_cli.core.terminal import say

if TYPE_CHECKING:
    from glta_cli.stages.pipeline import Pipeline


def checked_report_path(path: Path) -> Path:
    """The path of a report, as far as can be told before there is one.

    Raises:
        InputError: its folder does not exist or cannot be written to, or the path itself is a folder.
    """
    path = path.expanduser()
    if path.is_dir():
        raise InputError(
            "is a folder", location=f"--report {path}", hint=f"name a file in it, such as {path / 'report.html'}"
        )
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent}", location=f"--report {path}", hint="make it first")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"the folder {path.parent} cannot be written to", location=f"--report {path}")
    return path


def write_report(pipeline: Pipeline, report: Mapping[str, Any], path: Path) -> None:
    """Write an evaluation as one HTML page that needs no network.

    Args:
        pipeline: of the run; its published artefacts tell the trainings, the item tokens and sample recommendations.
        report: what `evaluate_run` returned.

    Raises:
        InputError: as `checked_report_path`, or the file cannot be written after all.
    """
    from rich.markup import escape

    from glta_cli.core.files import write_bytes
    from glta_cli.evaluation.report.extras import gathered_extras
    from glta_cli.evaluation.report.page import report_page

    path = checked_report_path(path)
    page = report_page(report, gathered_extras(pipeline)).encode()
    try:
        write_bytes(path, page)
    except OSError as error:
        raise InputError(
            f"cannot be written: {error.strerror}",
            location=f"--report {path}",
            hint="name another file: what was trained is kept, and not trained again",
        ) from error
    say(f"[green]✓[/] report: {escape(str(path))}")
