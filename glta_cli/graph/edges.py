"""Where the edges of a graph lie while it is used: in memory, or on a disk."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch

from glta_cli.core.errors import InputError
from glta_cli.core.process_memory import available_memory
from glta_cli.recipe.schema import GraphSettings

# Of an interaction: its neighbour and its weight, both ways, 4 bytes each.
BYTES_AN_INTERACTION: Final = 16
# Of the memory that is free, what edges take at most where the recipe leaves it to the machine.
MOST_SHARE: Final = 1 / 8


def folder_of_edges(settings: GraphSettings, interactions: int, folder: Path, device: torch.device) -> Path | None:
    """`folder` where the edges are to lie on its disk, None for memory.

    Raises:
        InputError: on the disk of a graph that a GPU propagates, which reads its own memory alone.
    """
    if settings.edges == "disk":
        if device.type != "cpu":
            raise InputError(
                f"graph.edges: a {device.type} device computes, and edges on a disk are read by a processor alone",
                location="recipe",
                hint="set graph.edges=auto, or --device cpu",
            )
        return folder
    if settings.edges == "memory" or device.type != "cpu":
        return None
    free = available_memory()
    return folder if free is not None and interactions * BYTES_AN_INTERACTION > free * MOST_SHARE else None
