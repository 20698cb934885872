"""A folder of `glta export --format huggingface` as a run of this workspace."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from glta_cli.answers.model_folder import CONFIG, CONTENT, FINE_TUNED, LAYOUT, MODEL, RUN, STAGES
from glta_cli.answers.model_parts import read_parts
from glta_cli.core.errors import GltaError, InputError
from glta_cli.core.files import read_json, read_sealed_json
from glta_cli.core.progress import progress_bar
from glta_cli.core.storage import require_room
from glta_cli.core.tensors import write_tensors
from glta_cli.stages.lineage import SERVING
from glta_cli.stages.lineage import STAGES as KNOWN_STAGES
from glta_cli.workspace.adoption import adopt
from glta_cli.workspace.evaluations import keep_evaluation
from glta_cli.workspace.run import Run, checked_run_name
from glta_cli.workspace.workspace import Workspace

FINGERPRINT = re.compile(r"[0-9a-f]{20}")
DIGEST = re.compile(r"[0-9a-f]{64}")
NOT_WHOLE = "export the run again, or fetch the whole folder"


@dataclass(frozen=True)
class Imported:
    """What an import made: the run, how many of its stages are new here, and whether the run is."""

    run: str
    dataset: str
    stages: int
    new_stages: int
    new: bool


def import_run(folder: Path, name: str | None, workspace: Workspace) -> Imported:
    """Make the run of a folder one of this workspace, under its own name or another.

    Every file is read once and has to be the one that was exported; a stage that is published here already stays.

    Raises:
        InputError: the folder is none of `glta export`, or another run has the name.
        GltaError: a file is missing or was changed; the disk is full or fails.
    """
    folder = folder.expanduser().absolute()
    _require_model(folder)
    stored = _stored_run(folder)
    run, evaluation = replace(stored, name=checked_run_name(name or stored.name)), _stored_evaluation(folder)
    known = workspace.run(run.name)
    if known is not None and (known.recipe, known.stages) != (run.recipe, run.stages):
        raise InputError(
            f"another run is called '{run.name}' here", location=str(folder), hint="--run NAME gives it another name"
        )
    manifests = _manifests(folder, run)
    require_room(workspace.folder("stages"), sum(path.stat().st_size for path in (folder / CONTENT).iterdir()))
    trained = next((stage for stage in FINE_TUNED if stage in run.stages), None)
    added = 0
    placed: dict[str, Path] = {}
    with progress_bar(len(manifests), "import", "stages", step="this stage") as bar:
        for (stage, fingerprint), manifest in manifests.items():
            parts = stage == trained and fingerprint == run.stages[stage]
            fill = partial(_fill, folder, manifest["outputs"], placed, parts)
            if adopt(workspace, stage, fingerprint, manifest, fill):
                added += 1
                path = workspace.root / "stages" / stage / fingerprint
                placed |= {digest: path / file for file, digest in manifest["outputs"].items()}
            bar.update(1)
    workspace.save_run(run)
    if evaluation is not None:
        keep_evaluation(workspace, run.name, run.stages.get("index", ""), evaluation)
    return Imported(run.name, run.dataset, len(manifests), added, known is None)


def _require_model(folder: Path) -> None:
    """Raise `InputError` where a folder is no model of `glta export`, or of a layout this version cannot read."""
    if not folder.is_dir():
        raise InputError("there is no such folder", location=str(folder))
    if not (folder / CONFIG).is_file() or not (folder / RUN).is_file():
        vectors = (folder / "export.json").is_file()
        problem = "holds vectors alone, of which no run can be made" if vectors else "is no folder of `glta export`"
        raise InputError(problem, location=str(folder), hint="`glta export --format huggingface` makes one")
    config = read_json(folder / CONFIG)
    layout = config.get("glta_model") if isinstance(config, dict) else None
    if layout != LAYOUT:
        raise InputError(
            f"written with layout {layout}, this version reads {LAYOUT}",
            location=str(folder / CONFIG),
            hint="install the glta it names, or a newer one",
        )


def _stored_run(folder: Path) -> Run:
    stored = read_sealed_json(folder / RUN, hint=NOT_WHOLE)
    kinds = {"name": str, "recipe": dict, "stages": dict}
    if not all(isinstance(stored.get(key), kind) for key, kind in kinds.items()):
        raise GltaError("is damaged: it is no run", location=str(folder / RUN), hint=NOT_WHOLE)
    for stage, fingerprint in stored["stages"].items():
        if stage not in KNOWN_STAGES or not FINGERPRINT.fullmatch(str(fingerprint)):
            problem = f"has a stage this version does not know: {stage}"
            raise GltaError(problem, location=str(folder / RUN), hint="install a newer glta")
    return Run.from_stored(stored)


def _stored_evaluation(folder: Path) -> dict[str, Any] | None:
    """What the run's last evaluation found; None where there was none."""
    found = read_sealed_json(folder / RUN, hint=NOT_WHOLE).get("evaluation")
    return found if isinstance(found, dict) else None


def _manifests(folder: Path, run: Run) -> dict[tuple[str, str], dict[str, Any]]:
    """What each stage said of itself: those of the run, and the data an update answers from."""
    wanted = list(run.stages.items())
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for stage, fingerprint in wanted:
        path = folder / STAGES / stage / f"{fingerprint}.json"
        if not path.is_file():
            raise GltaError("is missing", location=str(path), hint=NOT_WHOLE)
        found[stage, fingerprint] = manifest = read_sealed_json(path, hint=NOT_WHOLE)
        _require_plain(manifest, path)
        # After an update the data it answers from is another than it was trained on.
        prepared = str(manifest["inputs"].get("prepare")) if stage == SERVING else ""
        other = FINGERPRINT.fullmatch(prepared) and ("prepare", prepared) not in found
        if other and (folder / STAGES / "prepare" / f"{prepared}.json").is_file():
            wanted.append(("prepare", prepared))
    return found


def _require_plain(manifest: dict[str, Any], path: Path) -> None:
    """Raise `GltaError` where a manifest names files that could lie outside a folder."""
    outputs = manifest.get("outputs")
    if not isinstance(outputs, dict) or not isinstance(manifest.get("inputs"), dict):
        raise GltaError("is damaged: it names no files", location=str(path), hint=NOT_WHOLE)
    for file, digest in outputs.items():
        inside = not Path(file).is_absolute() and ".." not in Path(file).parts
        if not inside or not isinstance(digest, str) or not DIGEST.fullmatch(digest):
            raise GltaError(f"names a file that nothing is published as: {file}", location=str(path))


def _fill(folder: Path, outputs: dict[str, str], placed: dict[str, Path], parts: bool, target: Path) -> None:
    """Put the files of a stage into its folder, the fine-tuned tensors out of the model's parts.

    Args:
        placed: files of this import by their SHA-256, which need no second place on the disk.
    """
    for file, digest in outputs.items():
        path = target / file
        path.parent.mkdir(parents=True, exist_ok=True)
        if parts and file == MODEL:
            write_tensors(path, read_parts(folder))
            continue
        source = folder / CONTENT / digest
        try:
            os.link(placed[digest], path)
        except (KeyError, OSError):
            if not source.is_file():
                raise GltaError("is missing", location=str(source), hint=NOT_WHOLE) from None
            shutil.copyfile(source, path)
