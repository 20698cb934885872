"""What the last evaluation of a run found, kept for whoever asks the run later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from glta_cli.core.errors import GltaError
from glta_cli.core.files import read_sealed_json, write_sealed_json
from glta_cli.core.tensors import damaged
from glta_cli.workspace.run import checked_run_name
from glta_cli.workspace.workspace import Workspace

FOLDER: Final = "evaluations"
KEPT: Final = ("dataset", "users", "seeds", "split", "models", "intervals", "comparison", "served")
"""Of a report, what says how good each row is."""


def evaluation_path(workspace: Workspace, run: str) -> Path:
    """The file that keeps it, whether there is one or not; raises `InputError` for no name of a run."""
    return workspace.root / FOLDER / f"{checked_run_name(run)}.json"


def keep_evaluation(workspace: Workspace, run: str, index: str, report: Mapping[str, Any]) -> None:
    """Keep what an evaluation found, in the place of the one before; the same is not written again.

    Args:
        index: the fingerprint of the index that was measured.
        report: as `glta evaluate --json` prints it.
    """
    path = evaluation_path(workspace, run)
    # As it is read again: whole numbers as keys would be text there.
    found = json.loads(json.dumps({"index": index, **{name: report[name] for name in KEPT if name in report}}))
    with suppress(GltaError):
        known = read_sealed_json(path)
        if {name: known.get(name) for name in found} == found:
            return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_sealed_json(path, found)


def kept_evaluation(workspace: Workspace, run: str, index: str) -> dict[str, Any] | None:
    """What was kept of a run, if it is of that index; None where the run was trained again, or nobody measured it.

    Raises:
        GltaError: the file is damaged.
    """
    path = evaluation_path(workspace, run)
    if not path.is_file():
        return None
    found = read_sealed_json(path)
    if not isinstance(found, dict) or "models" not in found:
        raise damaged(path, "it is no evaluation")
    return found if found.get("index") == index else None
