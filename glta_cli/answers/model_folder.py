"""A run as a folder in the manner of the Hugging Face hub: a model card, the model's parts, and what answers.

README.md                 the model card
config.json               what the model is made of
adapter_config.json, adapter_model.safetensors    as peft writes and loads them; where adapters were trained
projectors.safetensors    of graph embeddings to tokens
head.safetensors          of states to item scores
run/run.json              the run: its recipe, and its stages by name
run/stages/<stage>/<fingerprint>.json    what each stage said of itself, with the SHA-256 of its files
run/content/<SHA-256>     those files, each once; but for the fine-tuned tensors, which are the three files above
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from glta_cli import __version__
from glta_cli.answers.model_card import model_card
from glta_cli.answers.model_parts import ADAPTER, ADAPTER_CONFIG, adapter_config, write_parts
from glta_cli.core.errors import GltaError
from glta_cli.core.files import file_sha256, sync, write_bytes, write_json, write_sealed_json
from glta_cli.core.progress import progress_bar
from glta_cli.core.tensors import read_arrays
from glta_cli.serving.index import Index
from glta_cli.stages.lineage import SERVING
from glta_cli.workspace.artefact import Artefact
from glta_cli.workspace.run import Run
from glta_cli.workspace.workspace import Workspace

CONFIG, RUN, STAGES, CONTENT = "config.json", "run/run.json", "run/stages", "run/content"
LAYOUT = 1
MODEL = "model.safetensors"
FINE_TUNED = ("refit-finetune", "finetune")
"""Stages whose tensors are the model's parts, the one that answers first."""


def artefacts_of(workspace: Workspace, run: Run) -> list[Artefact]:
    """What a run is made of, and the data it answers from where that is another than it was trained on.

    Raises:
        GltaError: a stage of it is no more.
    """
    found = []
    for stage, name in run.stages.items():
        artefact = workspace.published(stage, name)
        if artefact is None:
            raise GltaError(
                f"its stage {stage} is no more",
                location=f"run {run.name}",
                hint="run its recipe again before exporting",
            )
        found.append(artefact)
        if stage == SERVING:
            updated = artefact.manifest["inputs"].get("prepare")
            data = None if updated == run.stages.get("prepare") else workspace.published("prepare", str(updated))
            found += [] if data is None else [data]
    return found


def fine_tuned(artefacts: list[Artefact]) -> Artefact | None:
    """The stage whose tensors are the model's parts; None where no language model takes part."""
    by_stage = {artefact.stage: artefact for artefact in artefacts}
    return next((by_stage[stage] for stage in FINE_TUNED if stage in by_stage), None)


def bytes_of(artefacts: list[Artefact]) -> int:
    """What their files take, each once."""
    sizes = {digest: (artefact.path / file).stat().st_size for artefact, file, digest in _files(artefacts)}
    return sum(sizes.values())


def write_model_folder(
    folder: Path, run: Run, artefacts: list[Artefact], index: Index, evaluation: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Fill a folder with a run.

    Args:
        artefacts: of `artefacts_of`.
        index: that the run answers from.
        evaluation: what its last evaluation found; None where there was none.

    Returns:
        What its `config.json` says.

    Raises:
        OSError: it cannot be written.
        GltaError: a published file is damaged.
    """
    trained = fine_tuned(artefacts)
    config = _config(run, index)
    if trained is not None:
        tensors = read_arrays(trained.file(MODEL), "user_projector.linear.weight")
        hidden, graph = tensors["user_projector.linear.weight"].shape
        config |= {"hidden_size": hidden, "graph_dimension": graph}
        write_parts(tensors, folder)
        lora = run.recipe["backbone"].get("lora")
        if lora and (folder / ADAPTER).is_file():
            write_json(folder / ADAPTER_CONFIG, adapter_config(tensors, lora, config["base_model"]))
    write_json(folder / CONFIG, config)
    write_bytes(
        folder / "README.md", model_card(config, index, evaluation, adapter=(folder / ADAPTER).is_file()).encode()
    )
    (folder / CONTENT).mkdir(parents=True)
    # Where its files came from is a matter of this machine.
    said = {"name": run.name, "recipe": run.recipe, "stages": run.stages, "evaluation": evaluation}
    write_sealed_json(folder / RUN, said)
    _write_stages(folder, artefacts, trained)
    return config


def _write_stages(folder: Path, artefacts: list[Artefact], trained: Artefact | None) -> None:
    for artefact in artefacts:
        (folder / STAGES / artefact.stage).mkdir(parents=True, exist_ok=True)
        write_sealed_json(folder / STAGES / artefact.stage / f"{artefact.fingerprint}.json", artefact.manifest)
    files = list(_files(artefacts))
    with progress_bar(len(files), "copy what the run is made of", "files", step="this file") as bar:
        for artefact, file, digest in files:
            target = folder / CONTENT / digest
            parts = trained is not None and artefact.path == trained.path and file == MODEL
            if not parts and not target.exists():
                shutil.copyfile(artefact.path / file, target)
                if file_sha256(target) != digest:
                    raise GltaError("was changed after it was published", location=str(artefact.path / file))
                sync(target)
            bar.update(1)


def _files(artefacts: list[Artefact]) -> Iterator[tuple[Artefact, str, str]]:
    """Each file of each artefact, with its SHA-256."""
    for artefact in artefacts:
        for file, digest in artefact.manifest["outputs"].items():
            yield artefact, file, digest


# --------------------------------------------------------------------------------------------- what the model is


def _config(run: Run, index: Index) -> dict[str, Any]:
    recipe, row = run.recipe, index.row
    language = recipe["backbone"] if recipe["finetune"]["enabled"] else None
    base = _base_model(recipe) if language else None
    return {
        "glta_model": LAYOUT,
        "glta_version": __version__,
        "run": run.name,
        "dataset": run.dataset,
        "users": len(index.user_ids),
        "items": len(index.item_ids),
        "row": row.name,
        "terms": [row.rows[term] for term in row.terms],
        "encoder": recipe["graph"]["encoder"],
        "backbone": language,
        "base_model": base,
        "tokenizer": (language["options"].get("tokenizer") or base) if language else None,
        "head": recipe["finetune"]["head"] if language else None,
        "prompts": recipe["prompts"] if language else None,
    }


def _base_model(recipe: Mapping[str, Any]) -> str | None:
    """The id on the hub of the language model a recipe names; None where there is none, or its plugin does not say."""
    from glta_cli.plugin.registry import installed

    settings = recipe["backbone"]
    if isinstance(named := settings["options"].get("model"), str):
        return named
    known = getattr(installed().find("backbone", settings["name"]).target(), "source", None)
    return getattr(known, "hub_id", None)
