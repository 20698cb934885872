"""Where datasets, stages and runs live, and how a stage is published: whole, or not at all.

    <root>/stages/<stage>/<fingerprint>/   what a stage published, named by the content it depends on
    <root>/states/<stage>-<fingerprint>/   saved states of unfinished training, removed when the stage is published
    <root>/downloads/  <root>/generations/ fetched files; texts the language model generated
    <root>/encodings/                      vectors of texts, by what the texts say and the model that read them
    <root>/profiles/<run>/                 what --profile measured
    <root>/evaluations/<run>.json          what the last evaluation of a run found
    <root>/logs/<run>/                     what the recipe's loggers wrote
    <root>/datasets/<key>.json             dataset settings -> the prepared dataset they lead to
    <root>/runs/<name>.json                a run: its recipe and the stages it is made of; runs/latest names one

A published folder is immutable: written under a temporary name, synced, its manifest written last, then renamed.
Temporary names say whose they are; what a killed process left is removed by the next one that writes.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

# What publishing alone needs is imported inside the functions: `glta recommend` only reads.
from glta_cli.core.errors import BusyError, GltaError, InputError, did_you_mean
from glta_cli.core.files import (
    cache_root,
    default_root,
    digest_records,
    read_sealed_json,
    sync,
    write_sealed_json,
)
from glta_cli.core.temporary import whole_folder
from glta_cli.workspace.artefact import MANIFEST, SCHEMA_VERSION, Artefact
from glta_cli.workspace.run import Run, checked_run_name

LATEST = "latest"
# What a run's file says, which is all that 0.1 wrote.
RUN_KEYS: Mapping[str, type] = {"name": str, "recipe": dict, "stages": dict}
UNWRITABLE = {errno.EROFS, errno.EACCES, errno.EPERM}

Found = TypeVar("Found")

# The roots this process has cleared of leftovers.
_CLEARED: set[Path] = set()
# Seconds until another process is busy: one that only looks who works here holds each lock for a moment.
_LONGEST_LOOK: Final = 1.0


class Workspace:
    """The folders below one root."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = (root or default_root()).expanduser().absolute()

    def folder(self, name: str) -> Path:
        """A folder below the root, made when missing.

        Raises:
            GltaError: the root is read-only, or its disk is full.
            InputError: the root is no folder, or cannot be one.
        """
        from glta_cli.core.storage import storage_errors

        path = self.root / name
        if path.is_dir():
            return path
        try:
            with storage_errors(self.root):
                path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"cannot be created: {_reason(error, path)}",
                location=str(path),
                hint="choose another with --data-dir",
            ) from error
        return path

    def run_folder(self, name: str, run: str) -> Path:
        """A run's own folder below the folder of that name, made when missing; raises `InputError` as `folder` does.

        Args:
            run: name of the run; one that leads out of the workspace is an `InputError` too.
        """
        return self.folder(f"{name}/{checked_run_name(run)}")

    # ------------------------------------------------------------------------------------------- stages

    def published(self, stage: str, name: str) -> Artefact | None:
        """The artefact of that stage and fingerprint, or None when it was not published."""
        path = self.root / "stages" / stage / name
        return Artefact(path) if (path / MANIFEST).is_file() else None

    def published_or_made(self, stage: str, name: str, make: Callable[[], Artefact]) -> tuple[Artefact, bool]:
        """What was published under `stage` and `name`, else what `make` publishes now; and whether it was there.

        What is published is read without a lock.

        Raises:
            BusyError: another process makes it.
        """
        found = self.published(stage, name)
        if found is None:
            with self.locked(f"{stage}-{name}"):
                # Another process may have published it between the look and the lock.
                found = self.published(stage, name)
                if found is None:
                    return make(), False
        return found, True

    def state_folder(self, stage: str, name: str) -> Path:
        """Where the unfinished training of that stage saves its states."""
        return self.folder(f"states/{stage}-{name}")

    def publish(
        self,
        stage: str,
        name: str,
        write: Callable[[Path], dict[str, Any]],
        *,
        settings: Mapping[str, Any],
        inputs: Mapping[str, Any],
        seed: int,
        needed: int = 0,
        work: Mapping[str, Any] | None = None,
    ) -> Artefact:
        """Let `write` fill a folder, then publish it whole under `stage` and `name`, or not at all.

        Args:
            write: fills the folder it is given and returns the details for the manifest.
            settings: the part of the resolved recipe this stage depends on.
            inputs: names and hashes of what it read, parent stages among them.
            needed: bytes it will write at least, as far as that is known.
            work: how much it computes, as the manifest is to say it, for estimates of the time another takes.

        Raises:
            GltaError: the disk has less room than is needed, fills up or fails, or the folder is read-only.
        """
        import shutil

        from glta_cli.core.interruption import stops_at_once
        from glta_cli.core.storage import require_room, storage_errors
        from glta_cli.workspace.writing import written

        parent = self.folder(f"stages/{stage}")
        require_room(parent, needed)
        with stops_at_once(kept=f"{stage} is not finished, what was published before is kept"):
            with storage_errors(self.root, needed), whole_folder(parent / name) as temporary:
                content = {"schema_version": SCHEMA_VERSION, "stage": stage, "settings": dict(settings)}
                content |= {"inputs": dict(inputs), "seed": seed, **written(write, temporary)}
                content |= {"work": dict(work)} if work else {}
                write_sealed_json(temporary / MANIFEST, content)
            sync(parent)
            shutil.rmtree(self.root / "states" / f"{stage}-{name}", ignore_errors=True)
        return Artefact(parent / name)

    def remove(self, artefact: Artefact) -> None:
        """Unpublish an artefact; whoever needs it makes it again."""
        import shutil

        # Without its manifest it is not published, however far the removal gets.
        (artefact.path / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(artefact.path, ignore_errors=True)

    @contextmanager
    def locked(self, name: str, *, wait: float = _LONGEST_LOOK) -> Iterator[None]:
        """Hold a lock no other process holds, to write; whoever only reads needs none.

        Args:
            wait: seconds until another process has to let go of it.

        Raises:
            BusyError: another process holds it.
            GltaError: the folder is read-only, or its disk is full.
        """
        from filelock import FileLock, Timeout

        from glta_cli.core.storage import storage_errors

        self.remove_leftovers()
        with storage_errors(self.root):
            lock = FileLock(self.folder("locks") / f"{name.replace('/', '-')}.lock", timeout=wait)
            try:
                lock.acquire()
            except Timeout as error:
                raise BusyError(
                    f"another process is working on {name}", location=str(self.root), hint="wait for it to end"
                ) from error
        try:
            yield
        finally:
            lock.release()

    def remove_leftovers(self) -> None:
        """Remove, once a process and root, what killed processes left half written; what others write stays."""
        if self.root in _CLEARED:
            return
        _CLEARED.add(self.root)
        from glta_cli.core.temporary import remove_leftovers

        beside = [digest_records(), *(cache_root() / name for name in ("models", "downloads/wheels"))]
        remove_leftovers(dict.fromkeys([*self.folders_of_temporaries(), *beside]))

    def folders_of_temporaries(self) -> list[Path]:
        """The folders of the workspace that files and folders are written into under temporary names."""
        below = ("stages/*", "states/**", "encodings", "generations", "datasets", "runs/**", "profiles/**")
        folders = [folder for pattern in below for folder in self.root.glob(pattern) if folder.is_dir()]
        return [*folders, self.root / "downloads" / "wheels"]

    # --------------------------------------------------------------------------------------------- runs

    def save_run(self, run: Run) -> None:
        """Write the run, and make it the latest unless it is not finished and the latest is.

        Where it is written and the latest already, nothing is.

        Raises:
            GltaError: the run is new or another than before, and the folder is read-only or its disk is full.
        """
        from glta_cli.core.storage import storage_errors

        path, latest = self.run_path(run.name), self.root / "runs" / LATEST
        known = _unless_damaged(self.run, run.name)
        # The sources are for a person to be told of changes: what is published stays as it is.
        same = known is not None and replace(known, sources=run.sources) == run
        pointed = self.pointed_at()
        if known == run and pointed == run.name:
            return
        with storage_errors(self.root):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                if known != run:
                    write_sealed_json(path, run.as_stored())
                if pointed != run.name and (run.last_finished is not None or not self._has_finished(pointed)):
                    write_sealed_json(latest, {"name": run.name})
            except OSError as error:
                if not same or error.errno not in UNWRITABLE:
                    raise
                # Nothing is lost but which run was looked at last.

    def pointed_at(self) -> str | None:
        """The name that stands in the pointer to the latest run, whether there is such a run; None where none does."""
        pointer = self.root / "runs" / LATEST
        return _unless_damaged(_pointed_at, pointer) if pointer.is_file() else None

    def _has_finished(self, name: str | None) -> bool:
        run = None if name is None else _unless_damaged(self.run, name)
        return run is not None and run.last_finished is not None

    def run(self, name: str) -> Run | None:
        """The run of that name, or None; raises `GltaError` where its file is damaged."""
        path = self.run_path(name)
        if not path.is_file():
            return None
        hint = f"remove the file and run the recipe again with --run {name}: what its stages published is found again"
        stored = read_sealed_json(path, RUN_KEYS, hint=hint)
        if not all(isinstance(stored.get(key), kind) for key, kind in RUN_KEYS.items()):
            raise GltaError("is damaged: it is no run", location=str(path), hint=hint)
        return Run.from_stored(stored)

    def required_run(self, name: str) -> Run:
        """The run of that name; raises `InputError` that names those there are."""
        self.require_run(name)
        run = self.run(name)
        assert run is not None
        return run

    def require_run(self, name: str) -> None:
        """Raise `InputError` that names those there are where no run has that name, whatever its file says."""
        if not self.run_path(name).is_file():
            known = self.run_names()
            listed = f"runs here: {', '.join(known)}" if known else "nothing was run here yet"
            hint = did_you_mean(name, known) or listed
            raise InputError(f"no run is called '{name}'", location=str(self.root), hint=hint)

    def answering_run(self, name: str | None = None) -> Run | None:
        """What a run answers from: as it was last finished, where it was, else as it is; without a name, the latest.

        A line on stderr says where that is not what was worked on last.

        Raises:
            InputError: no run has that name.
            GltaError: the run's own file is damaged.
        """
        run = self.latest_run() if name is None else self.required_run(name)
        finished = None if run is None else run.last_finished
        if run is None or finished is None or finished is run:
            return run
        why = f": {run.failed}" if run.failed else ""
        _warn(f"run {run.name} was begun anew and {run.state}{why}; it answers as it was before")
        return finished

    def latest_run(self) -> Run | None:
        """The finished run that was worked on last, or where none is finished the last one; None where there is none.

        Where the pointer to it is missing, damaged, or leads to a run that is no more, it is the newest finished run,
        or else the newest, and a line on stderr says so; as it does where a run was worked on since that is not
        finished.

        Raises:
            GltaError: the run's own file is damaged.
        """
        pointer = self.root / "runs" / LATEST
        try:
            run = self.run(_pointed_at(pointer)) if pointer.is_file() else None
            problem = "names a run that is no more" if pointer.is_file() else "is missing"
        except GltaError as error:
            if error.location != str(pointer):
                raise
            run, problem = None, error.problem
        if run is None:
            return self._newest_run(f"{pointer}: {problem}")
        if run.last_finished is None:
            # As 0.1 left it, to which the latest was any run.
            finished = next((each for each in self._readable_runs() if each.last_finished is not None), None)
            if finished is not None:
                _warn(f"run {run.name} {run.state}; taking the latest finished run, {finished.name}")
            return finished or run
        self._tell_of_newer(run, pointer)
        return run

    def _tell_of_newer(self, latest: Run, pointer: Path) -> None:
        """Say on stderr where a run was worked on after the latest finished one and is not finished itself."""
        name = next(iter(self.run_names()), latest.name)
        if name == latest.name or self.run_path(name).stat().st_mtime_ns <= pointer.stat().st_mtime_ns:
            return
        run = _unless_damaged(self.run, name)
        if run is not None and run.last_finished is None:
            _warn(f"run {name} {run.state}; taking the latest finished run, {latest.name}, and --run {name} goes on")

    def _readable_runs(self) -> Iterator[Run]:
        """All runs whose files are whole, the latest first."""
        return (run for name in self.run_names() if (run := _unless_damaged(self.run, name)) is not None)

    def _newest_run(self, why: str) -> Run | None:
        readable = list(self._readable_runs())
        finished = [run for run in readable if (last := run.last_finished) is not None and self._all_published(last)]
        run = next(iter([*finished, *readable]), None)
        if run is not None:
            kind = "newest finished" if finished else "newest"
            _warn(f"{why}; taking the {kind} run, {run.name}")
        return run

    def _all_published(self, run: Run) -> bool:
        return all(self.published(stage, name) is not None for stage, name in run.stages.items())

    def run_names(self) -> list[str]:
        """All runs, the latest first."""
        folder = self.root / "runs"
        paths = sorted(folder.rglob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        return [path.relative_to(folder).with_suffix("").as_posix() for path in paths]

    def run_path(self, name: str) -> Path:
        """The file of the run of that name, whether there is one or not; raises `InputError` for no name of a run."""
        return self.root / "runs" / f"{checked_run_name(name)}.json"


def _warn(text: str) -> None:
    from rich.markup import escape

    from glta_cli.core.terminal import say

    say(f"[yellow]warning[/]: {escape(text)}")


def _reason(error: OSError, folder: Path) -> str:
    """Why a folder cannot be made; what stands in its way, where something does."""
    for path in (folder, *folder.parents):
        if path.is_symlink() and not path.exists():
            return f"{path} is a link to {path.readlink()}, which does not exist"
        if path.exists():
            return f"{path} is no folder" if not path.is_dir() else error.strerror or str(error)
    return error.strerror or str(error)


def _pointed_at(pointer: Path) -> str:
    """The name of the run that was worked on last; raises `GltaError`, with the pointer as its location, if damaged."""
    name = read_sealed_json(pointer, ["name"]).get("name")
    try:
        return checked_run_name(name if isinstance(name, str) else "")
    except InputError as error:
        raise GltaError("is damaged: it names no run", location=str(pointer)) from error


def _unless_damaged(read: Callable[..., Found], *arguments: Any) -> Found | None:
    """What `read` gives, or None where it finds a damaged file."""
    try:
        return read(*arguments)
    except GltaError:
        return None
