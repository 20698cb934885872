"""Baselines fitted once: what each learnt is published, and read again by the next evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from glta_cli.errors import GltaError
from glta_cli.evaluation.ranking import Scorer
from glta_cli.plugin import Baseline, BaselineData
from glta_cli.registry import installed
from glta_cli.selection import own_settings
from glta_cli.terminal import say
from glta_cli.workspace import SCHEMA_VERSION, fingerprint

if TYPE_CHECKING:
    from glta_cli.pipeline import Pipeline

STAGE = "baseline"
LEARNT = "learnt.safetensors"


def baseline_scorer(name: str, options: Mapping[str, Any], pipeline: Pipeline) -> Scorer:
    """The scores of a baseline on the run's dataset, fitted now where it was not before.

    Args:
        options: the baseline's own settings, as a recipe has them.

    Raises:
        InputError: no such baseline, or wrong settings.
        GltaError: it cannot be made, or what it learnt is not named arrays.
        BusyError: another process fits it.
    """
    component = installed().find("baseline", name)
    settings = own_settings("baseline", name, options, ("evaluate", "baselines", name))
    baseline: Baseline = component.build(settings)
    prepared, workspace = pipeline.prepared(), pipeline.workspace
    inputs = {"prepare": prepared.artefact.fingerprint}
    depends = {
        "baseline": name,
        "options": settings.model_dump(mode="json"),
        "plugin": [component.declaration.target, component.origin.distribution, component.origin.version],
        "seed": pipeline.recipe.seed,
    }
    identity = fingerprint([SCHEMA_VERSION, STAGE, depends, inputs])
    with workspace.locked(f"{STAGE}-{identity}"):
        artefact = workspace.published(STAGE, identity)
        if artefact is None:
            say(f"[cyan]▸[/] {STAGE}: {name}")
            artefact = workspace.publish(
                STAGE,
                identity,
                partial(_fit, baseline, name, pipeline),
                settings=depends,
                inputs=inputs,
                seed=pipeline.recipe.seed,
            )
    return baseline.scorer(load_file(artefact.file(LEARNT)), prepared.split("train"))


def _fit(baseline: Baseline, name: str, pipeline: Pipeline, folder: Path) -> dict[str, Any]:
    from glta_cli.training import pick_device

    prepared = pipeline.prepared()
    learnt = baseline.fit(
        BaselineData(
            train=prepared.split("train"),
            validation=prepared.split("valid"),
            texts=prepared.texts if prepared.has_text else None,
            seed=pipeline.recipe.seed,
            device=pick_device(pipeline.device),
        )
    )
    save_file(checked_arrays(learnt, name), folder / LEARNT)
    return {"baseline": name, "arrays": {key: list(array.shape) for key, array in learnt.items()}}


def checked_arrays(learnt: Any, name: str) -> dict[str, NDArray[Any]]:
    """What `fit` returned, contiguous; raises `GltaError` unless it is named arrays of numbers."""
    if not isinstance(learnt, Mapping) or not all(
        isinstance(key, str) and isinstance(array, np.ndarray) and array.dtype.kind in "biuf"
        for key, array in learnt.items()
    ):
        raise GltaError(f"what the baseline '{name}' learnt is not a mapping of names to arrays of numbers")
    return {key: np.ascontiguousarray(array) for key, array in learnt.items()}
