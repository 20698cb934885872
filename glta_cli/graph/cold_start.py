"""Vectors of nodes no training has seen: of items from what is written about them, of both from whom they met.

Each is a linear map found by ridge regression among the nodes a training has seen. A map of mean squared error gives
the mean of the vectors such nodes have, and the score of a mean vector is the mean of their scores: it stays as long as
it comes out, shorter than those the map is sure of.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from glta_cli.training.ridge import ridge_regression

Vectors = NDArray[np.float32]


def foretold(known_inputs: Vectors, known: Vectors, inputs: Vectors) -> Vectors:
    """What a linear map from inputs to vectors, found among known nodes, makes of others.

    Source: Gantner et al., Learning Attribute-to-Feature Mappings for Cold-Start Recommendations, ICDM 2010: here the
    attributes are the vectors of item texts, and the map is a ridge regression.

    Args:
        known_inputs: [n, D], of the known nodes.
        known: their vectors, [n, d].
        inputs: [m, D], of the others.

    Returns:
        [m, d].
    """
    weight, intercept = ridge_regression(torch.from_numpy(known_inputs), torch.from_numpy(known))
    found = torch.from_numpy(inputs).double() @ weight.T + intercept
    return found.float().numpy()


def with_unmet_foretold(items: Vectors, texts: Vectors | None, met: NDArray[np.bool_]) -> Vectors:
    """Item vectors, [I, d], in which those of items nobody met are foretold by their texts; without texts, the mean.

    Args:
        texts: vectors of the item texts, [I, D].
        met: which items anybody met, [I].
    """
    if met.all() or not met.any():
        return items
    result = items.copy()
    result[~met] = items[met].mean(axis=0) if texts is None else foretold(texts[met], items[met], texts[~met])
    return result
