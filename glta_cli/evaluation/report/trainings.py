"""The trainings of a run as their manifests tell them: loss and validation by epoch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from glta_cli.workspace.artefact import Artefact
from glta_cli.workspace.details import histories


@dataclass(frozen=True)
class Training:
    """One training of a stage.

    Attributes:
        name: the stage, and which of its trainings where it has several.
        loss: epoch and loss.
        metric: what selected the epoch.
        validation: epoch and value of that metric.
        best_epoch: the epoch whose parameters were kept; None where the manifest does not say.
        seconds: it took, with the validations; None where the manifest does not say.
    """

    name: str
    loss: Sequence[tuple[float, float]]
    metric: str
    validation: Sequence[tuple[float, float]]
    best_epoch: int | None
    seconds: float | None


def trainings_of(artefacts: Iterable[Artefact]) -> list[Training]:
    """Every training these artefacts tell of, in their order."""
    return [
        training(f"{artefact.stage}, {name}" if name else artefact.stage, _reported(artefact.details, name), epochs)
        for artefact in artefacts
        for name, epochs in histories(artefact.details)
        if epochs
    ]


def training(name: str, reported: Mapping[str, Any], epochs: Sequence[Mapping[str, float]]) -> Training:
    """A training from what the manifest reports of it and its epochs."""
    best_epoch = reported.get("best_epoch")
    metric = _selecting_metric(epochs, best_epoch, reported.get("best_metric"))
    return Training(
        name=name,
        loss=_along(epochs, "loss"),
        metric=metric,
        validation=_along(epochs, metric),
        best_epoch=best_epoch,
        seconds=reported.get("training_seconds"),
    )


def _reported(details: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    for part in name.split(".") if name else ():
        details = details[part]
    return details


def _selecting_metric(epochs: Sequence[Mapping[str, float]], best_epoch: int | None, best: float | None) -> str:
    """The metric that has the best value at the best epoch, else the first one there is."""
    measured = [epoch for epoch in epochs if set(epoch) - {"epoch", "loss"}]
    for epoch in measured:
        if epoch["epoch"] == best_epoch:
            found = [name for name, value in epoch.items() if name not in ("epoch", "loss") and value == best]
            if found:
                return found[0]
    return next((name for epoch in measured for name in epoch if name not in ("epoch", "loss")), "")


def _along(epochs: Sequence[Mapping[str, float]], name: str) -> list[tuple[float, float]]:
    return [(epoch["epoch"], epoch[name]) for epoch in epochs if name in epoch and math.isfinite(epoch[name])]
