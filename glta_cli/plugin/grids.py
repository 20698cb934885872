"""Grids: a few values for some settings, and every combination of them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any


def combinations(grid: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every combination of a grid, the last setting varying fastest; of no grid one that changes nothing.

    Args:
        grid: nested as the settings are, with a list of values for each.
    """
    choices = [combinations(below) if isinstance(below, Mapping) else below for below in grid.values()]
    return [dict(zip(grid, chosen, strict=True)) for chosen in product(*choices)]
