"""Whether what runs are made of is what was written: every byte is read again and compared with its checksum."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from glta_cli.core.errors import GltaError
from glta_cli.core.files import digest_record, digest_records, file_sha256, read_sealed_json, stamp
from glta_cli.core.tensors import block_crc32s, check_seal, header_crc32
from glta_cli.data.preparation import POINTER_KEYS
from glta_cli.stages.lineage import SERVING
from glta_cli.workspace.artefact import MANIFEST, Artefact
from glta_cli.workspace.workspace import LATEST, Workspace

STAGE_AGAIN = "remove the folder {folder}; the stage runs again"
CACHE_AGAIN = "remove the file; what is missing is made again"
TRAINING_GOES_ON = "remove the file; training goes on from the state before, or starts again"


@dataclass(frozen=True)
class Problem:
    """One file that is not what was written."""

    path: Path
    what: str
    hint: str


@dataclass
class Verification:
    """What was read, and what of it differs."""

    files: int = 0
    bytes_read: int = 0
    problems: list[Problem] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """`{"files", "bytes", "changed": [{"file", "problem", "hint"}]}`."""
        changed = [{"file": str(each.path), "problem": each.what, "hint": each.hint} for each in self.problems]
        return {"files": self.files, "bytes": self.bytes_read, "changed": changed}

    def look(self, path: Path, hint: str, check: Callable[[], str | None]) -> None:
        """Count a file and note what `check` finds wrong with it; the system's own errors are findings too."""
        self.files += 1
        try:
            self.bytes_read += path.stat().st_size
            what = check()
        except GltaError as error:
            what = error.problem
        except OSError as error:
            what = f"cannot be read: {error.strerror}"
        if what is not None:
            self.problems.append(Problem(path, what, hint))


def verify_workspace(workspace: Workspace, run: str | None) -> Verification:
    """Read again what a run is made of, or with None all runs and all that was published, and the caches beside.

    Raises:
        InputError: no such run.
    """
    found = Verification()
    for artefact in dict.fromkeys(_artefacts(workspace, run, found)):
        _verify_artefact(artefact, found)
    _verify_pointers(workspace, found)
    _verify_caches(workspace, found)
    _verify_remembered(found)
    return found


# ------------------------------------------------------------------------------------------- runs and stages


def _artefacts(workspace: Workspace, run: str | None, found: Verification) -> Iterator[Artefact]:
    if run is not None:
        workspace.require_run(run)
    for name in workspace.run_names() if run is None else [run]:
        path = workspace.run_path(name)
        stages: dict[str, str] = {}

        def read(name: str = name, stages: dict[str, str] = stages) -> None:
            stages.update(workspace.required_run(name).stages)

        found.look(path, f"remove the file, and run its recipe again with --run {name}", read)
        for stage, fingerprint in stages.items():
            artefact = Artefact(workspace.root / "stages" / stage / fingerprint)
            yield artefact
            if stage == SERVING:
                with suppress(GltaError, KeyError, OSError):  # what is wrong with its manifest is found anyway
                    yield Artefact(artefact.parent("prepare"))  # an update's own data, else the run's
    if run is None:
        for manifest in sorted((workspace.root / "stages").glob(f"*/*/{MANIFEST}")):
            if not manifest.parent.name.startswith("."):
                yield Artefact(manifest.parent)


def _verify_artefact(artefact: Artefact, found: Verification) -> None:
    hint = STAGE_AGAIN.format(folder=artefact.path)
    manifest_path = artefact.path / MANIFEST
    if not manifest_path.is_file():
        found.problems.append(Problem(artefact.path, "is not there", "run the recipe again: the stage is made anew"))
        return
    manifest: dict[str, Any] = {}
    found.look(manifest_path, hint, lambda: manifest.update(artefact.manifest))
    for name, expected in manifest.get("outputs", {}).items():
        path = artefact.path / name
        found.look(path, hint, partial(_changed, path, name, expected, manifest))
    known = {*manifest.get("outputs", {}), MANIFEST}
    if manifest:
        for path in sorted(each for each in artefact.path.rglob("*") if each.is_file()):
            if path.relative_to(artefact.path).as_posix() not in known:
                found.problems.append(Problem(path, "was not published with the rest", "remove the file"))


def _changed(path: Path, name: str, expected: str, manifest: dict[str, Any]) -> str | None:
    """What is wrong with a published file, and in which of its tensors where that is known."""
    if not path.is_file():
        return "is missing"
    if file_sha256(path) == expected:
        return None
    blocks, header = manifest.get("blocks", {}).get(name), manifest.get("headers", {}).get(name)
    kept = stamp(path) == manifest.get("stamps", {}).get(name)
    when = "was changed after it was published" + (", without a new time of writing: the disk may fail" if kept else "")
    if header is None or blocks is None:
        return when
    if header_crc32(path) != header:
        return f"{when}: its header differs"
    return f"{when}: {', '.join(each for each, crc in block_crc32s(path) if blocks.get(each) != crc)} differ"


# -------------------------------------------------------------------------------------- what is kept beside


def _verify_pointers(workspace: Workspace, found: Verification) -> None:
    for path in sorted((workspace.root / "datasets").glob("*.json")):
        found.look(path, CACHE_AGAIN, partial(_read_with, read_sealed_json, path, POINTER_KEYS))
    latest = workspace.root / "runs" / LATEST
    if latest.is_file():
        found.look(latest, CACHE_AGAIN, partial(_read_with, read_sealed_json, latest, ("name",)))


def _verify_caches(workspace: Workspace, found: Verification) -> None:
    from glta_cli.language.text_vectors import checked_vectors

    for path in sorted((workspace.root / "encodings").glob("*.safetensors")):
        found.look(path, CACHE_AGAIN, partial(_read_with, checked_vectors, path))
    for path in sorted((workspace.root / "generations").glob("*.jsonl")):
        found.look(path, CACHE_AGAIN, partial(_damaged_lines, path))
    for path in sorted((workspace.root / "states").rglob("*.safetensors")):
        found.look(path, TRAINING_GOES_ON, partial(_read_with, check_seal, path))


def _verify_remembered(found: Verification) -> None:
    """Files outside the workspace whose hash is remembered, such as weights; those written since are hashed anyway."""
    for record in sorted(digest_records().glob("*.json")):
        known = digest_record(record)
        path = None if known is None else Path(known["path"])
        if known is not None and path is not None and path.is_file() and stamp(path) == known["stamp"]:
            hint = f"fetch or copy it again, then remove {record}"
            found.look(path, hint, partial(_not_remembered, path, known["sha256"]))


def _read_with(read: Callable[..., object], *arguments: object) -> None:
    """Let a reader that names a damaged file read one."""
    read(*arguments)


def _damaged_lines(path: Path) -> str | None:
    from glta_cli.language.answers import read_answers

    lines = read_answers(path).damaged
    return f"is damaged in line {', '.join(map(str, lines))}" if lines else None


def _not_remembered(path: Path, sha256: str) -> str | None:
    return None if file_sha256(path) == sha256 else "was changed without a new time of writing: the disk may fail"
