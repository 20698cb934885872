"""Greedy continuation of many prompts at once, where what prompts share is run once."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

Tokens = list[int]


def continue_greedily(
    body: Callable[..., Any],
    head: Callable[[Tensor], Tensor],
    prompts: Sequence[Tokens],
    new_tokens: int,
    stops: Sequence[int],
    *,
    depth: int,
    device: torch.device,
) -> list[Tokens]:
    """The most likely next token of each prompt again and again: at most `new_tokens`, up to one of `stops`.

    A batch is run as a tree: the start all prompts have in common, the longer starts some of them share, the rest
    of each prompt, and then one token after another. Prompts that ended leave the batch.

    Args:
        body: a transformer of `depth` layers without its output head; see `keeps_all_tokens`.
        head: states [B, h] -> logits [B, V].
        prompts: [B], token ids, at least one each.
        new_tokens: at least one.

    Returns:
        [B], the new tokens, the stop included.
    """
    starts, start_of = shared_starts(prompts)
    trunk = starts[0][: min(common_length(starts[0], start) for start in starts)]
    rests = [prompt[len(starts[start]) :] for prompt, start in zip(prompts, start_of, strict=True)]
    branches = [start[len(trunk) :] for start in starts]
    room = len(trunk) + max(map(len, branches)) + max(map(len, rests)) + new_tokens
    rows = Rows(body, depth, room, device)
    rows.run([trunk])
    rows.branch([0] * len(starts))
    rows.run(branches)
    rows.branch(start_of)
    states = rows.run(rests)  # [B, h]

    answers: list[Tokens] = [[] for _ in prompts]
    growing = answers
    for count in range(1, new_tokens + 1):
        tokens = head(states).argmax(dim=-1).tolist()
        for answer, token in zip(growing, tokens, strict=True):
            answer.append(token)
        left = [row for row, token in enumerate(tokens) if token not in stops]
        if not left or count == new_tokens:
            break
        if len(left) < len(tokens):
            left = rows.keep(left)
            growing = [growing[row] for row in left]
        states = rows.run([[tokens[row]] for row in left])
    return answers


def shared_starts(prompts: Sequence[Tokens]) -> tuple[list[Tokens], list[int]]:
    """Starts that prompts have in common, and which of them each prompt has.

    A start is shared where it is at least half of each prompt that has it; a prompt that shares none is its own
    start, but for its last token.
    """
    starts: list[Tokens] = []
    longest: list[int] = []  # tokens of the longest prompt of each start
    start_of = [0] * len(prompts)
    # In alphabetical order neighbours are those with the longest common start.
    for row in sorted(range(len(prompts)), key=lambda row: prompts[row]):
        own = prompts[row][:-1]
        common = common_length(starts[-1], own) if starts else 0
        if starts and 2 * common >= max(longest[-1], len(prompts[row])):
            starts[-1] = own[:common]
            longest[-1] = max(longest[-1], len(prompts[row]))
        else:
            starts.append(own)
            longest.append(len(prompts[row]))
        start_of[row] = len(starts) - 1
    return starts, start_of


def common_length(first: Tokens, second: Tokens) -> int:
    """Number of tokens before the first difference."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(first), len(second)))


def keeps_all_tokens(config: Any, tokens: float = math.inf) -> bool:
    """Whether every layer of a model attends to all of so many tokens: no recurrent state, no shorter window.

    Without a number: of however many tokens, so that no layer has a window at all.
    """
    layers = DynamicCache(config=config).layers
    return all(
        type(layer) is DynamicLayer or (type(layer) is DynamicSlidingWindowLayer and layer.sliding_window > tokens)
        for layer in layers
    )


class Rows:
    """A batch of token sequences as far as a model has run them.

    Args:
        room: for how many tokens a row, padding included.
    """

    def __init__(self, body: Callable[..., Any], depth: int, room: int, device: torch.device) -> None:
        self.body = body
        self.layers = [RoomyLayer(room) for _ in range(depth)]
        self.cache = DynamicCache()
        self.cache.layers = list(self.layers)
        self.real = torch.ones(1, 0, dtype=torch.long, device=device)  # [B, tokens], 0 = padding
        self.takes_positions = "position_ids" in inspect.signature(body.forward).parameters  # type: ignore[attr-defined]

    def run(self, pieces: Sequence[Tokens]) -> Tensor:
        """Run the next tokens of each row, and return the states after its last one: [B, h]."""
        longest = max(map(len, pieces))
        if longest == 0:
            return self.real.new_empty(len(pieces), 0)
        device = self.real.device
        lengths = torch.tensor([len(piece) for piece in pieces], device=device)
        ids = torch.tensor([piece + [0] * (longest - len(piece)) for piece in pieces], device=device)  # [B, L]
        steps = torch.arange(longest, device=device)
        arguments = {}
        if self.takes_positions:
            arguments["position_ids"] = self.real.sum(dim=1, keepdim=True) + steps
        states: Tensor = self.body(
            input_ids=ids,
            # Padding on the right is no real token's past, so that only what was padded before is masked.
            attention_mask=torch.cat([self.real, torch.ones_like(ids)], dim=1),
            past_key_values=self.cache,
            use_cache=True,
            **arguments,
        ).last_hidden_state  # [B, L, h]
        self.real = torch.cat([self.real, (steps < lengths[:, None]).long()], dim=1)
        return states[torch.arange(len(pieces)), torch.tensor([max(len(piece) - 1, 0) for piece in pieces])]

    def branch(self, parents: Sequence[int]) -> None:
        """Go on with one row for each of `parents`, a copy of the row of that number."""
        indices = torch.tensor(parents)  # on the CPU: layers may lie on several devices
        self.real = self.real[indices]
        for layer in self.layers:
            layer.batch_select_indices(indices)

    def keep(self, rows: Sequence[int]) -> list[int]:
        """Drop all rows but these; returns the former numbers of the rows in their new order."""
        # The last rows move into the gaps: moving every row would copy nearly all keys and values.
        inside = [row for row in rows if row < len(rows)]
        gaps = sorted(set(range(len(rows))) - set(inside))
        moved = [row for row in rows if row >= len(rows)]
        order = list(range(len(rows)))
        for gap, row in zip(gaps, moved, strict=True):
            order[gap] = row
            for layer in self.layers:
                layer.move(row, gap)
        for layer in self.layers:
            layer.shrink(len(rows))
        self.real = self.real[order]
        return order


class RoomyLayer(DynamicLayer):
    """Keys and values of one layer in room reserved beforehand; transformers' own layer copies them at every token.

    Args:
        room: number of tokens.
    """

    keys: Tensor
    values: Tensor
    _key_room: Tensor  # [B, heads, room, head size]; `keys` is its front part
    _value_room: Tensor

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append keys and values [B, heads, L, head size] and return all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._reserve(key_states[:, :, :0], value_states[:, :, :0])
        start = self.keys.shape[2]
        end = start + key_states.shape[2]
        self._key_room[:, :, start:end] = key_states
        self._value_room[:, :, start:end] = value_states
        self.keys, self.values = self._key_room[:, :, :end], self._value_room[:, :, :end]
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Go on with copies of the rows `indices`."""
        if self.is_initialized:
            self._reserve(self.keys[indices], self.values[indices])

    def move(self, source: int, target: int) -> None:
        """Overwrite one row with another."""
        self.keys[target] = self.keys[source]
        self.values[target] = self.values[source]

    def shrink(self, rows: int) -> None:
        """Drop the rows from this number on."""
        self._key_room, self._value_room = self._key_room[:rows], self._value_room[:rows]
        self.keys, self.values = self.keys[:rows], self.values[:rows]

    def _reserve(self, keys: Tensor, values: Tensor) -> None:
        length = keys.shape[2]
        self._key_room = keys.new_empty(*keys.shape[:2], self.room, keys.shape[3])
        self._value_room = values.new_empty(*values.shape[:2], self.room, values.shape[3])
        self.keys, self.values = self._key_room[:, :, :length], self._value_room[:, :, :length]
        self.keys.copy_(keys)
        self.values.copy_(values)
