"""What `glta evaluate --json` printed of a run, read for its model card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from glta_cli.core.errors import GltaError, InputError
from glta_cli.core.files import read_json

HINT = "glta evaluate --run NAME --json > FILE.json"
SAID = ("run", "dataset", "users", "seeds", "split", "models")


def read_evaluation(path: Path, run: str, dataset: str) -> dict[str, Any]:
    """The report of a file.

    Raises:
        InputError: it is no report, or one of another run.
    """
    try:
        report = read_json(path)
    except GltaError as error:
        raise InputError(error.problem, location=f"--evaluation {path}", hint=HINT) from error
    if not isinstance(report, dict) or any(name not in report for name in SAID) or not report["models"]:
        raise InputError("is no evaluation", location=f"--evaluation {path}", hint=HINT)
    if (report["run"], report["dataset"]) != (run, dataset):
        raise InputError(
            f"is of run {report['run']} (dataset {report['dataset']}), not of {run} (dataset {dataset})",
            location=f"--evaluation {path}",
            hint=HINT,
        )
    return report
