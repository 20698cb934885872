"""Where datasets, stages and runs live, and the one place that publishes files.

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

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

# Hashing and writing import what they need inside the functions: `glta recommend` only reads.
from glta_cli.errors import BusyError, GltaError, InputError, did_you_mean

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
RECORDED_PACKAGES = ("glta", "torch", "transformers", "peft", "torch-geometric", "polars", "numpy")


def default_root() -> Path:
    """`GLTA_DATA_DIR`, or the platform's folder for user data."""
    named = os.environ.get("GLTA_DATA_DIR")
    if named:
        return Path(named)
    from platformdirs import user_data_path

    return user_data_path("glta")


def cache_root() -> Path:
    """`GLTA_CACHE_DIR`, or the platform's cache folder: converted weights, shared by all workspaces."""
    named = os.environ.get("GLTA_CACHE_DIR")
    if named:
        return Path(named)
    from platformdirs import user_cache_path

    return user_cache_path("glta")


# ------------------------------------------------------------------------------------------------- hashes


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stamp(path: Path) -> list[int]:
    """Size in bytes and modification time in nanoseconds: what every later write to the file changes."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def remembered_sha256(path: Path) -> str:
    """As `file_sha256`, but a file that was not written since is not read again: a language model is gigabytes."""
    path = path.resolve()
    record, now = cache_root() / "digests" / f"{fingerprint(str(path))}.json", stamp(path)
    known = read_json(record) if record.is_file() else {}
    if known.get("stamp") == now:
        return str(known["sha256"])
    digest = file_sha256(path)
    record.parent.mkdir(parents=True, exist_ok=True)
    write_json(record, {"path": str(path), "stamp": now, "sha256": digest})
    return digest


def fingerprint(content: Any) -> str:
    """20 hexadecimal digits that name JSON-like content; equal content, equal digits."""
    import hashlib

    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


# ---------------------------------------------------------------------------------------------- artefacts


@dataclass(frozen=True)
class Artefact:
    """One published folder."""

    path: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = read_json(self.path / MANIFEST)
        if manifest["schema_version"] != SCHEMA_VERSION:
            raise GltaError(
                f"written with layout {manifest['schema_version']}, this version reads {SCHEMA_VERSION}",
                location=str(self.path),
                hint="remove the folder; the stage is then run again",
            )
        return manifest

    @property
    def stage(self) -> str:
        return str(self.manifest["stage"])

    @property
    def fingerprint(self) -> str:
        return self.path.name

    @property
    def details(self) -> dict[str, Any]:
        """What the stage reported: counts, metrics, times."""
        details: dict[str, Any] = self.manifest["details"]
        return details

    def parent(self, stage: str) -> Path:
        """The folder of an artefact this one was made from."""
        return self.path.parents[1] / stage / str(self.manifest["inputs"][stage])

    def file(self, name: str) -> Path:
        """A published file whose bytes are those the manifest names.

        A file with the size and the modification time it was published with was not written since, so its bytes
        are hashed only where those differ, as in a copied folder.

        Raises:
            GltaError: the file is missing or was changed after it was published.
        """
        path = self.path / name
        expected = self.manifest["outputs"].get(name)
        if expected is None or not path.is_file():
            raise GltaError("the file is missing", location=str(path), hint="remove the folder; the stage runs again")
        if stamp(path) != self.manifest.get("stamps", {}).get(name) and file_sha256(path) != expected:
            raise GltaError(
                "the file was changed after it was published",
                location=str(path),
                hint="remove the folder; the stage runs again",
            )
        return path

    def has(self, name: str) -> bool:
        return name in self.manifest["outputs"]


# ---------------------------------------------------------------------------------------------- workspace


@dataclass(frozen=True)
class Run:
    """A named run: the recipe that was resolved and the stages published for it so far."""

    name: str
    recipe: dict[str, Any]
    stages: dict[str, str]


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
                f"cannot be created: {error.strerror}",
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

        from glta_cli.process_memory import peak_memory, reset_peak_memory

        parent = self.folder(f"stages/{stage}")
        temporary = _temporary(parent / name)
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
                _sync(temporary / output)
            write_json(temporary / MANIFEST, manifest)
            target = parent / name
            if target.exists():
                shutil.rmtree(target)
            temporary.rename(target)
            _sync(parent)
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


def checked_run_name(name: str) -> str:
    """The name as it is; raises `InputError` where it would lead out of a folder, or into a hidden one."""
    if not name or name.startswith(("/", ".")) or ".." in name.split("/"):
        raise InputError(f"'{name}' is no name for a run", hint="use letters, digits, - and _")
    return name


# -------------------------------------------------------------------------------------------------- files


def read_json(path: Path) -> Any:
    """The content of a JSON file; raises `GltaError` naming a file that is damaged."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise GltaError(f"cannot be read: {error}", location=str(path)) from error


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one, never a part."""
    write_bytes(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes so that a reader sees the old file or the new one, never a part."""
    temporary = _temporary(path)
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _temporary(path: Path) -> Path:
    """A name beside `path` that nothing has; what is made under it gets the user's own permissions."""
    import secrets

    return path.with_name(f".{path.name}-{secrets.token_hex(4)}")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def environment() -> dict[str, Any]:
    """What a reader of a manifest needs to repeat it: versions, plugins, processor threads."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from glta_cli.registry import installed

    origins = {c.origin.distribution: c.origin.version for c in installed().components}
    versions: dict[str, str] = {}
    for package in RECORDED_PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions,
        "plugins": origins,
        "threads": os.environ.get("OMP_NUM_THREADS") or os.cpu_count(),
    }
