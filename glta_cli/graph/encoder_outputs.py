"""What a graph encoder returns, checked where it enters: a plugin's slip is named before anything is trained on it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from glta_cli.core.errors import PluginError
from glta_cli.graph.histories import PADDING, reads_histories
from glta_cli.plugin.interaction_graph import InteractionGraph


def checked_encoder(encoder: Any, graph: InteractionGraph, dimension: int) -> nn.Module:
    """The encoder, after one look at what it returns; the generators of random numbers stay as they are.

    Args:
        dimension: d, as the encoder's settings have it.

    Raises:
        PluginError: it is no module, or what it is asked for returns something else than it has to.
    """
    module: Any = encoder
    if not isinstance(encoder, nn.Module):
        raise PluginError(f"it makes a {type(encoder).__name__}, not a torch.nn.Module")
    with torch.random.fork_rng(), torch.no_grad():
        if reads_histories(encoder):
            check_sequences(module, graph.item_count, dimension)
            return encoder
        check_outputs(module(), graph, dimension)
        # Node 0 of either kind: a loss of its embedding is as good as any to see what comes back.
        users, items = torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
        check_extra_loss(module.extra_loss(users, items))
    return encoder


def check_outputs(outputs: Any, graph: InteractionGraph, dimension: int) -> None:
    """Raise `PluginError` unless they are users [U, d] and items [I, d], float32."""
    wanted = f"users [{graph.user_count}, {dimension}] and items [{graph.item_count}, {dimension}], float32"
    if not isinstance(outputs, (tuple, list)) or len(outputs) != 2:
        raise PluginError(f"forward() returns {_described(outputs)}, not a pair: {wanted}")
    for name, vectors, count in zip(("users", "items"), outputs, (graph.user_count, graph.item_count), strict=True):
        right = isinstance(vectors, Tensor) and vectors.dtype == torch.float32
        if not right or tuple(vectors.shape) != (count, dimension):
            raise PluginError(f"forward() returns {name} that are {_described(vectors)}, not {wanted}")


def check_sequences(module: Any, item_count: int, dimension: int) -> None:
    """Raise `PluginError` unless a sequence encoder gives items [I, d] and states [B, L, d], float32."""
    longest = module.longest_history()
    if type(longest) is not int or longest < 1:
        raise PluginError(f"longest_history() returns {longest!r}, not a number of items from 1 on")
    # Item 0 is as good as any to see what comes back.
    histories = torch.zeros(2, min(longest, 2), dtype=torch.int64)  # [B, L]
    histories[0, :-1] = PADDING
    for call, vectors, shape in (
        ("items()", module.items(), (item_count, dimension)),
        (f"encode() of histories {list(histories.shape)}", module.encode(histories), (*histories.shape, dimension)),
    ):
        right = isinstance(vectors, Tensor) and vectors.dtype == torch.float32
        if not right or tuple(vectors.shape) != shape:
            raise PluginError(f"{call} returns {_described(vectors)}, not {list(shape)}, float32")


def check_extra_loss(loss: Any) -> None:
    """Raise `PluginError` unless it is a scalar tensor of floating point."""
    if not isinstance(loss, Tensor) or loss.ndim or not loss.is_floating_point():
        raise PluginError(f"extra_loss() returns {_described(loss)}, not a scalar tensor of floating point")


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {list(value.shape)}, {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, (tuple, list)):
        return f"{len(value)} values"
    return f"a {type(value).__name__}"
