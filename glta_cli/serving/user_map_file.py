"""The map by which people who are in no file get a vector, as tensors of an index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glta_cli.graph.user_map import UserMap

WEIGHT, INTERCEPT, MEAN, UNIT = "map_weight", "map_intercept", "map_mean", "map_unit"


def user_map_tensors(found: UserMap) -> dict[str, NDArray[Any]]:
    """The map as it is stored."""
    return {
        WEIGHT: np.ascontiguousarray(found.weight, dtype=np.float32),
        INTERCEPT: found.intercept.astype(np.float32),
        MEAN: found.mean,
        UNIT: np.array([found.unit], dtype=np.uint8),
    }


def stored_user_map(tensors: Mapping[str, NDArray[Any]]) -> UserMap | None:
    """The map among the tensors of an index; None where it was written before there was one."""
    if not {WEIGHT, INTERCEPT, MEAN, UNIT} <= tensors.keys():
        return None
    return UserMap(tensors[WEIGHT], tensors[INTERCEPT], tensors[MEAN], bool(tensors[UNIT][0]))
