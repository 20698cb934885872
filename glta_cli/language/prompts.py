"""Prompts: a template with slots becomes a row of token ids in which graph nodes stand as tokens of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.errors import InputError
from glta_cli.language.chat import chat_text

# A tokenizer keeps some hundred bytes of every token of the texts it is given, whatever they are cut to afterwards.
TEXTS_AT_ONCE = 256

SLOTS = ("descriptions", "items", "prediction", "profile", "user")

_SLOT = re.compile(r"\{(" + "|".join(SLOTS) + r")\}")


def node_token(node: int) -> int:
    """The id that stands for a graph node, users 0..U-1 and items U..U+I-1, in a prompt: negative."""
    return -1 - node


def node_of(token_ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """The inverse of `node_token`, for ids that are negative."""
    return -1 - token_ids


class PromptTemplate:
    """Literal text, tokenised once, around slots filled with token ids.

    Args:
        text: the wording with slots in braces.
        required: slots that must stand in it.
        optional: slots that may stand in it.
        location: the recipe key, for the error.

    Raises:
        InputError: a required slot is missing, or a slot of another prompt stands in it.
    """

    def __init__(
        self,
        text: str,
        system: str,
        tokenizer: Any,
        *,
        required: Sequence[str],
        optional: Sequence[str] = (),
        location: str,
    ) -> None:
        missing = [slot for slot in required if f"{{{slot}}}" not in text]
        if missing:
            raise InputError(
                f"the slot {{{missing[0]}}} is missing",
                location=location,
                hint=f"add {{{missing[0]}}} to the template",
            )
        pieces = _SLOT.split(chat_text(tokenizer, system, text))
        self.literals = [encode(tokenizer, piece) for piece in pieces[0::2]]
        self.slots = pieces[1::2]
        foreign = [slot for slot in self.slots if slot not in (*required, *optional)]
        if foreign:
            raise InputError(
                f"the slot {{{foreign[0]}}} has no meaning here",
                location=location,
                hint=f"slots here: {', '.join(f'{{{slot}}}' for slot in (*required, *optional))}",
            )

    def fill(self, values: Mapping[str, Sequence[int]]) -> NDArray[np.int64]:
        """The prompt's ids [L]; every slot of the template has a value."""
        ids = list(self.literals[0])
        for slot, literal in zip(self.slots, self.literals[1:], strict=True):
            ids.extend(values[slot])
            ids.extend(literal)
        return np.asarray(ids, dtype=np.int64)


def encode(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a piece of text, without the special tokens that start or end a sequence."""
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return ids


def encode_cut(tokenizer: Any, texts: Sequence[str], tokens: int) -> list[list[int]]:
    """Token ids of each text, cut to `tokens`; an empty text becomes one token, so that it has a state."""
    filler = encode(tokenizer, " ?")
    cut: list[list[int]] = []
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        part = list(texts[start : start + TEXTS_AT_ONCE])
        batch: list[list[int]] = tokenizer(part, add_special_tokens=False)["input_ids"]
        cut += [ids[:tokens] or filler[:1] for ids in batch]
    return cut


def pad_right(prompts: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Prompts of lengths [B] -> ids [B, L] and mask [B, L], padded with token 0 under a mask of 0."""
    width = max(len(prompt) for prompt in prompts)
    ids = np.zeros((len(prompts), width), dtype=np.int64)
    mask = np.zeros((len(prompts), width), dtype=np.int64)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = prompt
        mask[row, : len(prompt)] = 1
    return ids, mask
