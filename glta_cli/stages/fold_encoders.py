"""Stage 3's targets in folds: an encoder for each, trained on all but its fold, all in the space of the first.

With one holdout a fifth of the training interactions is all that stage 3 is ever asked for. With five folds each
interaction is asked for once, of a user as an encoder knows it that has not seen it: cross-fitting, as in stacking.

Source: Wolpert, Stacked Generalization, Neural Networks 1992; the turn into one space: Schönemann, A Generalized
Solution of the Orthogonal Procrustes Problem, Psychometrika 1966.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.tensors import read_arrays, write_tensors
from glta_cli.data.splits import target_folds
from glta_cli.graph.pretraining import Embeddings, PretrainedEncoder
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.target_folds import fold_count
from glta_cli.workspace.artefact import Artefact

FOLDS = "folds.safetensors"


@dataclass(frozen=True)
class Folds:
    """What stage 3 is asked for, and by which graph it knows the users it is asked about.

    Attributes:
        of_interactions: int8 [n], along the training interactions: the fold, or -1.
        embeddings: by fold, of the encoder that has not seen it; the first is the one that serves.
    """

    of_interactions: NDArray[np.int8]
    embeddings: Sequence[Embeddings]


def drawn_folds(recipe: Recipe, train: Interactions, first: NDArray[np.bool_] | None = None) -> NDArray[np.int8]:
    """The fold of every training interaction, int8 [n]; -1 for none.

    Args:
        first: those of the first fold, bool [n], where an earlier training has settled that; others drawn for it go to
            the next fold.
    """
    count = fold_count(recipe)
    drawn = target_folds(train, count, recipe.seed)
    if first is None:
        return drawn
    return np.where(first, 0, np.where(drawn == 0, 1, drawn)).astype(np.int8)


def turned_to(embeddings: Embeddings, goal: NDArray[np.float32]) -> Embeddings:
    """Embeddings turned so that their items [I, d] lie as near as they can to those of another encoder.

    A turn changes no score: the products of users and items are what they were.
    """
    left, _, right = np.linalg.svd(embeddings.items.astype(np.float64).T @ goal.astype(np.float64))
    turn = left @ right  # [d, d]
    users, items = (np.asarray(each @ turn, dtype=np.float32) for each in (embeddings.users, embeddings.items))
    return Embeddings(users, items)


def write_folds(
    folder: Path,
    folds: NDArray[np.int8],
    first: Embeddings,
    pretrained: Callable[[int, NDArray[np.bool_]], PretrainedEncoder],
) -> dict[str, PretrainedEncoder]:
    """Train the encoders of all folds but the first, turn them to it, and write what stage 3 needs of all.

    Args:
        pretrained: trains the encoder of a fold on the interactions marked along `folds`.
    """
    trained = {
        str(fold): pretrained(fold, np.asarray(folds != fold)) for fold in range(1, int(folds.max(initial=0)) + 1)
    }
    every = [first, *(turned_to(each.embeddings, first.items) for each in trained.values())]
    tensors: dict[str, NDArray[Any]] = {
        "folds": folds,
        "users": np.stack([each.users for each in every]),
        "items": np.stack([each.items for each in every]),
    }
    write_tensors(folder / FOLDS, tensors)
    return trained


def read_folds(artefact: Artefact) -> Folds | None:
    """The folds an encoder was published with; None where it has none."""
    if not artefact.has(FOLDS):
        return None
    stored: Mapping[str, NDArray[Any]] = read_arrays(artefact.file(FOLDS), "folds", "users", "items")
    pairs = zip(stored["users"], stored["items"], strict=True)
    return Folds(stored["folds"], [Embeddings(users, items) for users, items in pairs])
