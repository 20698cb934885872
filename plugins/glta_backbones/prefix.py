"""Keys and values of tokens that stand before others: computed once, continued by every pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


@dataclass(frozen=True)
class Prefix:
    """Keys and values of the tokens that stand before those a pass is given.

    Attributes:
        layers: keys and values of each layer, [B, heads, P, head size] each; B = 1 where all prompts share them.
        mask: [B, P], 1 = real; None where every token is.
    """

    layers: list[tuple[Tensor, Tensor]]
    mask: Tensor | None = None

    def write_to(self, cache: DynamicCache, size: int) -> None:
        """Fill the empty cache of one pass over `size` prompts: a pass appends to what it is given."""
        for keys, values in self.layers:
            cache.layers.append(layer := DynamicLayer())
            layer.lazy_initialization(keys, values)
            layer.keys, layer.values = keys.expand(size, -1, -1, -1), values.expand(size, -1, -1, -1)

    def followed_by(self, layers: list[tuple[Tensor, Tensor]], mask: Tensor) -> Prefix:
        """With the keys and values `layers`, these included, and the mask [B, L] of the new tokens."""
        if self.mask is None and bool(mask.all()):
            return Prefix(layers)
        seen = self.mask
        if seen is None:
            seen = mask.new_ones(len(mask), self.layers[0][0].shape[2])
        return Prefix(layers, torch.cat([seen, mask], dim=1))


class PassEnded(Exception):  # noqa: N818 (no error)
    """Keys and values of every layer are known."""


class ContextCache(DynamicCache):
    """Ends a pass at the last layer's keys and values: what comes after them is a state nobody asked for."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self._last = depth - 1

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = super().update(key_states, value_states, layer_idx, *args, **kwargs)
        if layer_idx == self._last:
            raise PassEnded
        return found
