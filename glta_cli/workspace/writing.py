"""Filling a folder that is to be published, and what its manifest says of the files and of the making."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from glta_cli.core.files import file_crc32, file_sha256, stamp, sync


def written(write: Callable[[Path], dict[str, Any]], folder: Path) -> dict[str, Any]:
    """Let `write` fill a folder and see it onto the disk; what the manifest says of its files and of the making."""
    from glta_cli.core.process_memory import peak_memory, reset_peak_memory
    from glta_cli.core.tensors import block_crc32s, header_crc32
    from glta_cli.workspace.environment import environment

    started = datetime.now(UTC)
    begun, worked = reset_peak_memory(), time.process_time()
    details = write(folder)
    worked = time.process_time() - worked
    peak = peak_memory(begun)
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    outputs = {name: file_sha256(path) for name, path in files.items()}
    tensors = {name: path for name, path in files.items() if path.suffix == ".safetensors"}
    for path in files.values():
        sync(path)
    return {
        "outputs": outputs,
        "stamps": {name: stamp(path) for name, path in files.items()},
        "crc32": {name: file_crc32(path) for name, path in files.items()},
        "headers": {name: header_crc32(path) for name, path in tensors.items()},
        "blocks": {name: dict(block_crc32s(path)) for name, path in tensors.items()},
        "details": details,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round((datetime.now(UTC) - started).total_seconds(), 3),
        "processor_seconds": round(worked, 3),
        "peak_memory": peak,
        "environment": environment(),
    }
