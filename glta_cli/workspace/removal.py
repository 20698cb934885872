"""Removing runs and what no run needs: what another run needs, or a running process works on, stays."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from glta_cli.core.errors import BusyError, GltaError
from glta_cli.core.files import write_sealed_json
from glta_cli.core.storage import storage_errors
from glta_cli.core.temporary import leftovers
from glta_cli.workspace.evaluations import evaluation_path
from glta_cli.workspace.run import Run
from glta_cli.workspace.run_reports import size_of
from glta_cli.workspace.workspace import LATEST, Workspace

Stages = set[tuple[str, str]]
KEPT_FOR_LATER_RUNS = ("downloads", "encodings", "generations")


@dataclass(frozen=True)
class Removal:
    """One file or folder that goes.

    Attributes:
        kind: run, stage, state, log, profile, temporary file, or the folder of what is kept for later runs.
        path: absolute.
        bytes: it takes on disk.
    """

    kind: str
    path: Path
    bytes: int

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"path": str(self.path)}


def removals_of_run(workspace: Workspace, name: str) -> list[Removal]:
    """The run's file and evaluation, and the stages, states, logs and profiles no other run needs.

    Raises:
        InputError: no such run.
        GltaError: the file of another run is damaged, so that nobody knows what it needs.
    """
    workspace.require_run(name)
    others = _readable(workspace, [each for each in workspace.run_names() if each != name])
    try:
        run = workspace.required_run(name)
    except GltaError:
        run = Run(name, {}, {})  # its file is damaged: all that is known of it is its name
    needed = _needed(workspace, others)
    found = [Removal("run", workspace.run_path(name), size_of(workspace.run_path(name)))]
    own = sorted(_needed(workspace, [run]) - needed)
    found += [_sized("stage", workspace.root / "stages" / stage / each) for stage, each in own]
    if not run.finished:
        found += [each for each in _states(workspace, others) if _stage_of(each.path) not in run.stages]
    measured = evaluation_path(workspace, name)
    if measured.is_file():
        found.append(_sized("evaluation", measured))
    for kind, folder in (("log", "logs"), ("profile", "profiles")):
        theirs = [workspace.root / folder / other.name for other in others]
        found += [_sized(kind, path) for path in _only_below(workspace.root / folder / name, theirs)]
    return found


def removals_of_all(workspace: Workspace, *, everything: bool) -> tuple[list[Removal], list[str]]:
    """What no run needs, and the names of what running processes work on: while there are any, stages and states stay.

    A running process may read stages of a run that is not known yet.

    Args:
        everything: what is kept for later runs too: downloads, vectors of texts and generated words.

    Raises:
        GltaError: the file of a run is damaged, so that nobody knows what it needs.
    """
    runs = _readable(workspace, workspace.run_names())
    busy = held_locks(workspace)
    found = [_sized("temporary file", path) for path in leftovers(workspace.folders_of_temporaries())]
    if not busy:
        needed = _needed(workspace, runs)
        found += [
            _sized("stage", path) for path in _published(workspace) if (path.parent.name, path.name) not in needed
        ]
        found += _states(workspace, runs)
        if everything:
            folders = [workspace.root / name for name in KEPT_FOR_LATER_RUNS]
            found += [_sized(path.name, path) for path in folders if path.is_dir() and size_of(path)]
    return found, busy


def remove_run(workspace: Workspace, name: str, removals: Iterable[Removal]) -> None:
    """Remove a run as `removals_of_run` found it; the newest finished run that is left becomes the latest.

    Raises:
        BusyError: a process works in the workspace, and may read what is to be removed.
        GltaError: the folder is read-only.
    """
    busy = held_locks(workspace)
    if busy:
        raise BusyError(
            f"another process is working on {busy[0]}", location=str(workspace.root), hint="wait for it to end"
        )
    remove(workspace, removals)
    _point_at_another(workspace, name)


def remove(workspace: Workspace, removals: Iterable[Removal]) -> None:
    """Remove files and folders, a stage once it is unpublished; raises `GltaError` where that is refused."""
    with storage_errors(workspace.root):
        for each in removals:
            if each.path.is_dir() and not each.path.is_symlink():
                # Without its manifest it is not published, however far the removal gets.
                (each.path / "manifest.json").unlink(missing_ok=True)
                shutil.rmtree(each.path)
            else:
                each.path.unlink(missing_ok=True)


def held_locks(workspace: Workspace) -> list[str]:
    """The names of the locks other processes hold; each that is free is held to tell, for less than anybody waits."""
    from filelock import FileLock, Timeout

    held = []
    for path in sorted((workspace.root / "locks").glob("*.lock")):
        lock = FileLock(path, timeout=0)
        try:
            with storage_errors(workspace.root):
                lock.acquire()
        except Timeout:
            held.append(path.stem)
        else:
            lock.release()
    return held


# ------------------------------------------------------------------------------------------ what runs need


def _readable(workspace: Workspace, names: Iterable[str]) -> list[Run]:
    found = []
    for name in names:
        try:
            found.append(workspace.required_run(name))
        except GltaError as error:
            raise GltaError(
                f"nobody knows what run {name} needs, so nothing is removed: {error.problem}",
                location=error.location,
                hint=f"glta runs remove {name} removes that run, and nothing it may share",
            ) from error
    return found


def _needed(workspace: Workspace, runs: Iterable[Run]) -> Stages:
    """Stage and fingerprint of all that the runs are made of, and of what that was made from."""
    pending = [each for run in runs for each in run.stages.items()]
    pending += [each for run in runs if run.before is not None for each in run.before["stages"].items()]
    found: Stages = set()
    while pending:
        stage, name = pending.pop()
        artefact = None if (stage, name) in found else workspace.published(stage, name)
        if artefact is not None:
            found.add((stage, name))
            with suppress(GltaError):  # a damaged manifest says nothing of what it was made from
                pending += [each for each in artefact.manifest["inputs"].items() if isinstance(each[1], str)]
    return found


def _published(workspace: Workspace) -> list[Path]:
    """The folders of all stages, those that lost their manifest among them; temporary ones are not."""
    paths = (workspace.root / "stages").glob("*/*")
    return sorted(path for path in paths if path.is_dir() and not path.name.startswith("."))


def _states(workspace: Workspace, runs: list[Run]) -> list[Removal]:
    """The saved states of trainings none of the runs may go on with: each has the stage, or is finished."""
    unfinished = [run for run in runs if not run.finished]
    paths = sorted(path for path in (workspace.root / "states").glob("*") if not path.name.startswith("."))
    return [_sized("state", path) for path in paths if all(_stage_of(path) in run.stages for run in unfinished)]


def _stage_of(state: Path) -> str:
    return state.name.rpartition("-")[0]


def _only_below(folder: Path, others: list[Path]) -> Iterator[Path]:
    """The folder, or where another run's lies inside it, what in it is none of theirs."""
    if folder in others or not folder.exists():
        return
    if not any(other.is_relative_to(folder) for other in others):
        yield folder
        return
    for path in sorted(folder.iterdir()):
        yield from _only_below(path, others)


def _sized(kind: str, path: Path) -> Removal:
    return Removal(kind, path, size_of(path))


def _point_at_another(workspace: Workspace, gone: str) -> None:
    pointer = workspace.root / "runs" / LATEST
    latest = workspace.pointed_at()
    if latest is not None and latest != gone:
        return
    runs = [workspace.required_run(name) for name in workspace.run_names()]
    following = next((run for run in runs if run.last_finished is not None), next(iter(runs), None))
    with storage_errors(workspace.root):
        if following is None:
            pointer.unlink(missing_ok=True)
        else:
            write_sealed_json(pointer, {"name": following.name})
