"""What a stage starts from where a run is trained again: what the same stage published before, by user and item."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from glta_cli.core.tensors import read_arrays, read_tensors
from glta_cli.core.terminal import say
from glta_cli.data.prepared import EverythingKnown, PreparedDataset
from glta_cli.graph.warm_start import Places, start_encoder, taken_over
from glta_cli.language.model import GraphLanguageModel
from glta_cli.plugin.interactions import Interactions
from glta_cli.stages.context import MODEL, TARGETS, StageContext
from glta_cli.workspace.artefact import Artefact

# Parameters of the head with a row for every item; of the tied head the bias alone.
ROWS_OF_ITEMS = ("head.bias", "head.weight")


@dataclass(frozen=True)
class Earlier:
    """What a stage published in an earlier training, and where the users and items of now were then."""

    artefact: Artefact
    train: Interactions
    users: Places
    items: Places


def earlier(context: StageContext, stage: str) -> Earlier | None:
    """What this stage starts from; None where it starts from nothing."""
    artefact = context.starts.get(stage)
    if artefact is None:
        return None
    kind = PreparedDataset if context.selected is None else EverythingKnown
    before, now = kind(Artefact(artefact.parent("prepare"))), context.prepared
    return Earlier(
        artefact,
        before.split("train"),
        Places.of(before.user_ids, now.user_ids),
        Places.of(before.item_ids, now.item_ids),
    )


def start_at(encoder: nn.Module, start: Earlier, parameters: str) -> nn.Module:
    """The encoder, started where the one with these published parameters ended."""
    unfitting = start_encoder(encoder, read_tensors(start.artefact.file(parameters)), start.users, start.items)
    for name in unfitting:
        say(f"  {name} starts anew: what was trained of it before has another shape")
    return encoder


def start_model(model: GraphLanguageModel, start: Earlier, *, aligned: bool) -> bool:
    """Start projectors, head and adapters where they ended before, in place.

    Args:
        aligned: whether the item projector has just been trained by stage 2, and stays.

    Returns:
        Whether all of the head could be taken over; else the model stays as it is.
    """
    found = read_tensors(start.artefact.file(MODEL))
    parameters: Mapping[str, Tensor] = dict(model.named_parameters())
    taken = {}
    for name, tensor in found.items():
        if aligned and name.startswith("item_projector."):
            continue
        if name not in parameters:
            return False
        if name in ROWS_OF_ITEMS and len(tensor) == start.items.count:
            tensor = taken_over(parameters[name].detach().cpu(), tensor, start.items)
        if tensor.shape != parameters[name].shape:
            return False
        taken[name] = tensor
    with torch.no_grad():
        for name, tensor in taken.items():
            parameters[name].copy_(tensor)
    return True


def targets_kept(drawn: NDArray[np.bool_], train: Interactions, start: Earlier) -> NDArray[np.bool_]:
    """Stage 3's targets among training interactions: what was one stays one, and of new interactions those drawn.

    The earlier encoder has seen every interaction that was no target: as a target now it would be known beforehand. A
    user of whom nothing would be left to show has the targets drawn.

    Args:
        drawn: the targets of a first training, bool [n] along `train`.
    """
    if not start.artefact.has(TARGETS):
        return drawn
    earlier_targets = read_arrays(start.artefact.file(TARGETS), "targets")["targets"].astype(bool)
    place = places_of_pairs(train, start)
    targets = np.where(place >= 0, earlier_targets[place], drawn)
    shown = np.bincount(train.users[~targets], minlength=train.user_count)
    return np.where(shown[train.users] > 0, targets, drawn)


def places_of_pairs(interactions: Interactions, start: Earlier) -> NDArray[np.int64]:
    """Where each interaction stands among the training interactions of before, int64 [n]; -1 where it is none."""
    users, items = start.users.before[interactions.users], start.items.before[interactions.items]
    keys = np.where((users >= 0) & (items >= 0), users * start.items.count + items, -1)
    known = start.train.users * start.items.count + start.train.items
    if not len(known):
        return np.full(len(keys), -1)
    order = np.argsort(known)
    place = np.minimum(np.searchsorted(known, keys, sorter=order), len(known) - 1)
    return np.where(known[order[place]] == keys, order[place], -1)
