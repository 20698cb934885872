"""Taking in what another workspace published: the same files under the same name, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from glta_cli.core.errors import GltaError
from glta_cli.core.files import file_sha256, stamp, sync, write_sealed_json
from glta_cli.core.storage import storage_errors
from glta_cli.core.temporary import whole_folder
from glta_cli.workspace.artefact import MANIFEST
from glta_cli.workspace.workspace import Workspace


def adopt(
    workspace: Workspace, stage: str, name: str, manifest: Mapping[str, Any], fill: Callable[[Path], None]
) -> bool:
    """Publish an artefact of another workspace, once its files are those its manifest names.

    Args:
        name: the fingerprint it was published under there.
        manifest: what it says of itself.
        fill: puts its files into the folder it is given.

    Returns:
        Whether it is new here; what is published stays as it is.

    Raises:
        BusyError: another process makes it.
        GltaError: a file is missing or another than was published; the disk is full or fails.
    """
    parent = workspace.folder(f"stages/{stage}")
    with workspace.locked(f"{stage}-{name}"):
        if workspace.published(stage, name) is not None:
            return False
        with storage_errors(workspace.root), whole_folder(parent / name) as temporary:
            fill(temporary)
            _require_published(stage, temporary, manifest["outputs"])
            # Whoever reads a file of the size and time noted here need not hash gigabytes again.
            stamps = {file: stamp(temporary / file) for file in manifest["outputs"]}
            write_sealed_json(temporary / MANIFEST, {**manifest, "stamps": stamps})
        sync(parent)
    return True


def _require_published(stage: str, folder: Path, outputs: Mapping[str, str]) -> None:
    """Raise `GltaError` where a file is missing or another than was published."""
    for file, expected in outputs.items():
        path = folder / file
        if not path.is_file() or file_sha256(path) != expected:
            raise GltaError(f"{file} of {stage} is not what was exported", hint="export the run again")
        sync(path)
