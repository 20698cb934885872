"""How much training an encoder computes, counted for an estimate of its time."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from glta_cli.recipe.schema import GraphSettings

# What fetches numbers from memory and does little with each, as so many operations of a matrix product, which does
# much: measured at d = 64. Of an edge and column of a propagation, of a logit's softmax, of a parameter's Adam step.
PER_EDGE, PER_LOGIT, PER_PARAMETER = 24.0, 400.0, 100.0
# Of a number of a sequence encoder's state and layer, forward and backward: norms, dropout, attention's softmax, the
# padding and the many small calls of a step. Measured at d = 64 and 128 histories of seven items a step.
PER_STATE = 15_000.0
# Products of a state with d × d in a layer: queries, keys, values, and the two of the feed-forward network.
PRODUCTS = 5


class TrainingWork(NamedTuple):
    """Operations of one training with all its epochs.

    Attributes:
        steps: of all of them.
        validations: of all of them.
        whole: of both, what each of several processes does by itself: it propagates over the whole graph, whatever its
            share of a batch, and takes the optimizer's step of all parameters.
    """

    steps: float
    validations: float
    whole: float


def training_operations(
    settings: GraphSettings, *, users: int, items: int, edges: int, ranked: int, layers: int, dimension: int
) -> TrainingWork:
    """What an encoder of the graph takes.

    Args:
        edges: interactions in the graph.
        ranked: users of a validation.
        layers: propagations of the encoder.
        dimension: d of its vectors.
    """
    training = settings.training
    examples = users if settings.loss == "softmax" else edges
    steps = training.epochs * math.ceil(examples / training.batch_size)
    nodes = users + items
    # Forward and backward, along every edge both ways.
    propagation = 2 * layers * 2 * edges * dimension * PER_EDGE
    scored = min(items, settings.softmax_items or items)
    logits = min(training.batch_size, examples) * scored if settings.loss == "softmax" else 0
    # The product, and one each for the gradients of users and items.
    whole = propagation + nodes * dimension * PER_PARAMETER
    step = whole + logits * (6 * dimension + PER_LOGIT)
    validations = 1 + math.ceil(training.epochs / training.validate_every)
    ranking = ranked * items * (2 * dimension + PER_LOGIT)
    validated = validations * (ranking + propagation / 2)
    return TrainingWork(steps * step, validated, steps * whole + validations * propagation / 2)


def next_item_operations(
    settings: GraphSettings,
    *,
    histories: NDArray[np.int64],
    items: int,
    ranked: int,
    layers: int,
    dimension: int,
    longest: int,
) -> TrainingWork:
    """What an encoder that reads histories takes.

    Args:
        histories: items of each user, [U].
        ranked: users of a validation.
        layers: of the encoder.
        dimension: d of its states.
        longest: items of a history it reads at once.
    """
    training = settings.training
    predicted = np.maximum(histories - 1, 0)
    places, stretches = float(predicted.sum()), float((-(-predicted // longest)).sum())
    steps = math.ceil(stretches / training.batch_size)
    length = places / max(1.0, stretches)
    # A way there; the way back is twice as long.
    state = layers * (2 * PRODUCTS * dimension**2 + 4 * length * dimension + PER_STATE * dimension / 3)
    scored = min(items, settings.softmax_items or items) if settings.loss == "softmax" else 1
    logits = scored * (6 * dimension + PER_LOGIT)
    parameters = items * dimension + layers * PRODUCTS * dimension**2
    whole = steps * parameters * PER_PARAMETER
    epoch = places * (3 * state + logits) + whole
    validations = 1 + math.ceil(training.epochs / training.validate_every)
    read = float(np.minimum(histories, longest).mean()) if len(histories) else 0.0
    ranking = ranked * (read * state + items * (2 * dimension + PER_LOGIT))
    return TrainingWork(training.epochs * epoch, validations * ranking, training.epochs * whole)
