"""What a stage has in memory together, part by part, at each point where that may be the most it ever has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np

from glta_cli.language.model_memory import FLOAT32, INT64
from glta_cli.language.model_work import CHARACTERS_PER_TOKEN, model_work
from glta_cli.language.whitening import most_directions
from glta_cli.recipe.schema import TrainingSettings
from glta_cli.recipe.selection import encoder_dimension, head_takes_texts, reads_text, text_reader, tokens_take_texts
from glta_cli.recipe.target_folds import fold_count
from glta_cli.stages.workloads import Counted
from glta_cli.training.best import IN_MEMORY

# Of each number that is trained: Adam's two moments.
MOMENTS_A_NUMBER: Final = {"float32": 2 * 4, "bfloat16": 2 * 2}
# A Python string beside its characters, and an object that says where it lies.
STRING: Final = 60
# A vocabulary of no more entries is that of a tokenizer of bytes.
BYTES: Final = 512

# As a part: a file that weights are read from, mapped. The system takes its pages back where memory is short.
FILE: Final = "file"

Parts = dict[str, int]


@dataclass(frozen=True)
class Moment:
    """A point of a stage.

    Attributes:
        computing: bytes by part, in the memory of what computes.
        beside: bytes by part, in the memory of the process, whatever computes.
        freed: bytes that computed what came before, where that is counted: the heap of a CPU still holds them, in
            pieces between what stayed.
    """

    computing: Parts
    beside: Parts
    freed: int = 0


class Sizes(Counted):
    """What is counted by, with what the memory of several stages consists of."""

    def share(self, batch: int) -> int:
        """Of a batch that is trained on, what one process computes."""
        return math.ceil(batch / self.processes)

    @property
    def users(self) -> int:
        return self.prepared.user_count

    @property
    def items(self) -> int:
        return self.prepared.item_count

    @cached_property
    def dimension(self) -> int:
        """d of the graph embeddings."""
        return encoder_dimension(self.recipe)

    @cached_property
    def data(self) -> int:
        """Bytes of the interactions, the ids and, where they are read, the texts, as every stage holds them."""
        pairs = len(self.train) + len(self.prepared.split("valid"))
        interactions = 3 * INT64 * pairs + 4 * INT64 * self.users
        return interactions + STRING * (self.users + 2 * self.items)

    @cached_property
    def texts(self) -> int:
        """Bytes of the item texts."""
        return sum(map(len, self.prepared.texts)) + STRING * self.items

    @cached_property
    def text_columns(self) -> int:
        """D of the vectors of item texts: no more than there are texts for, or numbers in a state of their reader."""
        directions = most_directions(self.recipe.text.dimensions, self.items)
        return min(directions, model_work(text_reader(self.recipe)).hidden)

    @property
    def columns(self) -> int:
        """D of the head's item vectors."""
        return self.dimension + (self.text_columns if head_takes_texts(self.recipe) and self.takes_texts else 0)

    @cached_property
    def node_tables(self) -> int:
        """Bytes of what nodes are known by beside the language model, as it is loaded: twice, on their way into it."""
        tied = self.items * self.columns if self.recipe.finetune.head == "tied" else 0
        texts = self.text_columns * self.items if self.takes_texts else 0
        own = (self.users + self.items) * self.dimension
        return FLOAT32 * (fold_count(self.recipe) * (2 * own + tied) + texts)

    @property
    def takes_texts(self) -> bool:
        """Whether the model knows items by their texts too."""
        wanted = head_takes_texts(self.recipe) or tokens_take_texts(self.recipe)
        return wanted and self.prepared.has_text and reads_text(self.recipe)

    def shown(self, share: float, batch: int) -> int:
        """Items the longest prompts show, of users with so much of their history."""
        if not len(self.train.counts):
            return 0
        longest = int(self.train.counts.max())
        return min(self.recipe.finetune.context_items, math.ceil(longest * share)) if batch else 0

    def text_tokens(self, most: int, vocabulary: int) -> tuple[float, int]:
        """Tokens of a text cut to `most`, on average and at most."""
        lengths = np.array([len(text) for text in self.prepared.texts], dtype=float) / characters_of(vocabulary)
        cut = np.minimum(most, 1 + lengths)
        return (float(cut.mean()), math.ceil(cut.max())) if len(cut) else (0.0, 0)


def trained_bytes(numbers: int, training: TrainingSettings) -> int:
    """Bytes of so many numbers that are trained: themselves, gradients, Adam's moments, and the best there were.

    The best of large parameters lie on the disk.
    """
    own = FLOAT32 * numbers
    return 2 * own + MOMENTS_A_NUMBER[training.moments] * numbers + (own if own <= IN_MEMORY else 0)


def characters_of(vocabulary: int) -> float:
    """Characters of a token, on average."""
    return 1.0 if vocabulary <= BYTES else CHARACTERS_PER_TOKEN


def moment(beside: Mapping[str, float], *, freed: float = 0, **computing: float) -> Moment:
    """A moment of these parts, in whole bytes; parts of nothing are left out."""
    return Moment(_whole(computing), _whole(beside), math.ceil(freed))


def _whole(parts: Mapping[str, float]) -> Parts:
    return {name.replace("_", " "): math.ceil(size) for name, size in parts.items() if size}
