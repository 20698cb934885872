"""Saved states of a training: sealed files, the newest and the one before, of which a damaged one is set aside."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from glta_cli.core.errors import GltaError
from glta_cli.core.files import set_aside
from glta_cli.core.storage import storage_errors
from glta_cli.core.streamed_tensors import Kept, bytes_of, stream_sealed_tensors
from glta_cli.core.temporary import temporary_beside
from glta_cli.core.tensors import check_seal, header_of, read_tensors

STATE, PREVIOUS = "state.safetensors", "previous.safetensors"

Loaded = TypeVar("Loaded")


def write_state(folder: Path, tensors: Mapping[str, Tensor | Kept], progress: Mapping[str, Any]) -> None:
    """Save a state, a tensor at a time; the one saved before stays beside it until the next.

    Raises:
        GltaError: the disk is full or broken; the state saved before is still there.
    """
    path = folder / STATE
    with storage_errors(folder, bytes_of(tensors)):
        folder.mkdir(parents=True, exist_ok=True)
        written = temporary_beside(path)
        try:
            stream_sealed_tensors(written, tensors, progress=json.dumps(progress))
            if path.is_file():
                # Killed after this, the training goes on from the one before, which costs it no more than its steps.
                path.replace(folder / PREVIOUS)
            written.replace(path)
        finally:
            written.unlink(missing_ok=True)


def threads_of(folder: Path) -> int | None:
    """The threads with which the newest state in this folder, or below it, was computed; None where none says so."""
    paths = sorted(folder.rglob(STATE), key=lambda path: path.stat().st_mtime_ns)
    try:
        progress = json.loads(header_of(paths[-1])[1]["__metadata__"]["progress"]) if paths else {}
    except (GltaError, OSError, ValueError, KeyError, TypeError):
        return None  # what is damaged is said where the state is read
    threads = progress.get("threads") if isinstance(progress, dict) else None
    return threads if isinstance(threads, int) and threads > 0 else None


def newest_state(folder: Path, load: Callable[[dict[str, Tensor], dict[str, Any]], Loaded]) -> Loaded | None:
    """What `load` makes of the tensors and the progress of the newest state that is whole; None where there is none.

    A state that is damaged, or of another version, is set aside with a word, and the one before is taken.

    Args:
        load: raises `ValueError`, `KeyError` or `TypeError` where the state is none of this training's.
    """
    for path, then in (
        (folder / STATE, "training goes on from the state before, or from the start"),
        (folder / PREVIOUS, "training starts again"),
    ):
        if path.is_file():
            try:
                return _loaded(path, load)
            except (GltaError, ValueError, KeyError, TypeError) as error:
                reason = error.problem if isinstance(error, GltaError) else f"no state of this training: {error}"
                set_aside(path, reason, then)
    return None


def _loaded(path: Path, load: Callable[[dict[str, Tensor], dict[str, Any]], Loaded]) -> Loaded:
    check_seal(path)
    _, header = header_of(path)
    progress = json.loads(header["__metadata__"]["progress"])
    return load(read_tensors(path), progress)
