"""The states of torch's random generators, as a saved state keeps them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def random_states() -> dict[str, Tensor]:
    """The states of torch's generators, under the names a saved state has them by."""
    states = {"generator.cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["generator.cuda"] = torch.cuda.get_rng_state()
    return states


def set_random_states(states: Mapping[str, Tensor]) -> None:
    """Set torch's generators to what `random_states` gave, those there are here."""
    torch.set_rng_state(states["generator.cpu"])
    if "generator.cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["generator.cuda"])
