"""Where datasets, stages and runs live, and how a stage is published: whole, or not at all.

    <root>/stages/<stage>/<fingerprint>/   what a stage published, named by the content it depends on
    <root>/states/<stage>-<fingerprint>/   saved states of unfinished training, removed when the stage is published
    <root>/downloads/  <root>/generations/ fetched files; texts the language model generated
    <root>/encodings/                      vectors of texts, by what the texts say and the model that read them
    <root>/profiles/<run>/                 what --profile measured
    <root>/logs/<run>/                     what the recipe's loggers wrote
    <root>/datasets/<key>.json             dataset settings -> the prepared dataset they lead to
    <root>/runs/<name>.json                a run: its recipe and the stages it is made of; runs/latest names one

A published folder is immutable: written under a temporary name, synced, its manifest written last, then renamed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# What publishing alone needs is imported inside the functions: `glta recommend` only reads.
from glta_cli.core.errors import BusyError, InputError, did_you_mean
from glta_cli.core.files import default_root, file_sha256, read_json, stamp, sync, temporary_beside, write_json
from glta_cli.workspace.artefact import MANIFEST, SCHEMA_VERSION, Artefact
from glta_cli.workspace.run import Run, checked_run_name


class Workspace:
    """The folders below one root."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = (root or default_root()).expanduser().absolute()

    def folder(self, name: str) -> Path:
        """A folder below the root, made when missing."""
        path = self.root / name
        try:
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
    ) -> Artefact:
        """Let `write` fill a folder, then publish it whole under `stage` and `name`, or not at all.

        Args:
            write: fills the folder it is given and returns the details for the manifest.
            settings: the part of the resolved recipe this stage depends on.
            inputs: names and hashes of what it read, parent stages among them.
        """
        import shutil

        from glta_cli.core.process_memory import peak_memory, reset_peak_memory
        from glta_cli.workspace.environment import environment

        parent = self.folder(f"stages/{stage}")
        temporary = temporary_beside(parent / name)
        temporary.mkdir()
        try:
            started = datetime.now(UTC)
            begun = reset_peak_memory()
            details = write(temporary)
            peak = peak_memory(begun)
            outputs = {
                path.relative_to(temporary).as_posix(): file_sha256(path)
                for path in sorted(temporary.rglob("*"))
                if path.is_file()
            }
            manifest = {
                "schema_version": SCHEMA_VERSION,
                "stage": stage,
                "settings": dict(settings),
                "inputs": dict(inputs),
                "outputs": outputs,
                "stamps": {name: stamp(temporary / name) for name in outputs},
                "seed": seed,
                "details": details,
                "started": started.isoformat(timespec="seconds"),
                "seconds": round((datetime.now(UTC) - started).total_seconds(), 3),
                "peak_memory": peak,
                "environment": environment(),
            }
            for output in outputs:
                sync(temporary / output)
            write_json(temporary / MANIFEST, manifest)
            target = parent / name
            if target.exists():
                shutil.rmtree(target)
            temporary.rename(target)
            sync(parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        shutil.rmtree(self.root / "states" / f"{stage}-{name}", ignore_errors=True)
        return Artefact(target)

    def remove(self, artefact: Artefact) -> None:
        """Unpublish an artefact; whoever needs it makes it again."""
        import shutil

        # Without its manifest it is not published, however far the removal gets.
        (artefact.path / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(artefact.path, ignore_errors=True)

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold a lock no other process holds; raises `BusyError` when one does."""
        from filelock import FileLock, Timeout

        path = self.folder("locks") / f"{name.replace('/', '-')}.lock"
        try:
            with FileLock(path, timeout=0):
                yield
        except Timeout as error:
            raise BusyError(
                f"another process is working on {name}", location=str(self.root), hint="wait for it to end"
            ) from error

    # --------------------------------------------------------------------------------------------- runs

    def save_run(self, run: Run) -> None:
        """Write the run and make it the latest."""
        path = self._run_path(run.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"name": run.name, "recipe": run.recipe, "stages": run.stages})
        write_json(self.folder("runs") / "latest", {"name": run.name})

    def run(self, name: str) -> Run | None:
        """The run of that name, or None."""
        path = self._run_path(name)
        if not path.is_file():
            return None
        stored = read_json(path)
        return Run(stored["name"], stored["recipe"], stored["stages"])

    def required_run(self, name: str) -> Run:
        """The run of that name; raises `InputError` that names those there are."""
        run = self.run(name)
        if run is None:
            known = self.run_names()
            listed = f"runs here: {', '.join(known)}" if known else "nothing was run here yet"
            hint = did_you_mean(name, known) or listed
            raise InputError(f"no run is called '{name}'", location=str(self.root), hint=hint)
        return run

    def latest_run(self) -> Run | None:
        """The run that was worked on last, or None."""
        pointer = self.root / "runs" / "latest"
        return self.run(read_json(pointer)["name"]) if pointer.is_file() else None

    def run_names(self) -> list[str]:
        """All runs, the latest first."""
        folder = self.root / "runs"
        paths = sorted(folder.rglob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        return [path.relative_to(folder).with_suffix("").as_posix() for path in paths]

    def _run_path(self, name: str) -> Path:
        return self.root / "runs" / f"{checked_run_name(name)}.json"


def _reason(error: OSError, folder: Path) -> str:
    """Why a folder cannot be made; what stands in its way, where something does."""
    for path in (folder, *folder.parents):
        if path.is_symlink() and not path.exists():
            return f"{path} is a link to {path.readlink()}, which does not exist"
        if path.exists():
            return f"{path} is no folder" if not path.is_dir() else error.strerror or str(error)
    return error.strerror or str(error)
