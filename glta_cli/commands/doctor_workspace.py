"""What `glta doctor` finds in the folders: where they are, what they take, and what in them is damaged or left over."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from glta_cli.commands.doctor_findings import Finding
from glta_cli.core.counts import counted
from glta_cli.core.errors import GltaError
from glta_cli.core.files import cache_root
from glta_cli.core.storage import free_bytes, shown_bytes
from glta_cli.core.temporary import leftovers
from glta_cli.workspace.removal import held_locks
from glta_cli.workspace.run_reports import run_report, size_of
from glta_cli.workspace.workspace import Workspace

# With less free the next stage will hardly be written.
LEAST_FREE = 10**9
LARGEST_FOLDERS = 4


def workspace_findings(workspace: Workspace) -> Iterator[Finding]:
    """The data folder, the caches, locks, what killed processes left, and the runs."""
    yield _folder_finding("data", workspace.root)
    parts = [(size_of(path), path.name) for path in _entries(workspace.root)]
    largest = [f"{name} {shown_bytes(size)}" for size, name in sorted(parts, reverse=True)[:LARGEST_FOLDERS] if size]
    if largest:
        yield Finding("folders", "of it", ", ".join(largest), hint="`glta runs gc --dry-run` shows what no run needs")
    yield _folder_finding("cache", cache_root())
    yield _folder_finding("hub's cache", _hub_cache())
    yield from _lock_findings(workspace)
    yield from _run_findings(workspace)


def _folder_finding(name: str, folder: Path) -> Finding:
    nearest = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    free, used = free_bytes(folder), size_of(folder) if folder.is_dir() else 0
    said = f"{folder}: {shown_bytes(used) if folder.is_dir() else 'not there yet'}"
    said += "" if free is None else f", {shown_bytes(free)} free"
    needed = name == "data"
    if not os.access(nearest, os.W_OK | os.X_OK) or not nearest.is_dir():
        hint = "name another with --data-dir or GLTA_DATA_DIR" if needed else None
        return Finding("folders", name, f"{said}; it cannot be written", "broken" if needed else "warning", hint)
    if free is not None and free < LEAST_FREE:
        return Finding("folders", name, said, "broken" if needed and not free else "warning", "free some of the disk")
    return Finding("folders", name, said)


def _hub_cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() and os.access(folder, os.R_OK | os.X_OK) else []


def _lock_findings(workspace: Workspace) -> Iterator[Finding]:
    held, files = held_locks(workspace), len(_entries(workspace.root / "locks"))
    if held:
        yield Finding("workspace", "locks", f"another process is working on {', '.join(held)}")
    elif files:
        yield Finding("workspace", "locks", f"{counted(files, 'file')}, none of them held")
    left = list(leftovers(workspace.folders_of_temporaries()))
    if left:
        taken = shown_bytes(sum(map(size_of, left)))
        hint = "the next command that writes removes them; `glta runs gc` does now"
        yield Finding("workspace", "left over", f"{len(left)} of killed processes, {taken}", "warning", hint)


def _run_findings(workspace: Workspace) -> Iterator[Finding]:
    names, reports, damaged = workspace.run_names(), [], []
    for name in names:
        try:
            reports.append(run_report(workspace, workspace.required_run(name)))
        except GltaError as problem:
            damaged.append((name, problem))
    finished = sum(report["state"] == "finished" for report in reports)
    if names:
        yield Finding("workspace", "runs", f"{len(names)}, {finished} of them finished")
    for name, error in damaged:
        where = "" if error.location is None else f"{error.location}: "
        yield Finding("workspace", "runs", f"{name} cannot be read: {where}{error.problem}", "warning", error.hint)
    for report in reports:
        gone = [stage["stage"] for stage in report["stages"] if not stage["published"]]
        if gone:
            hint = "run its recipe again: what is not there is made anew"
            yield Finding("workspace", "runs", f"{report['run']} lacks {', '.join(gone)}", "warning", hint)
        elif report["failed"]:
            yield Finding("workspace", "runs", f"{report['run']}: {report['state']}: {report['failed']}", "warning")
