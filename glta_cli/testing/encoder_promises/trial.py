"""Encoders of the class under test, the small graphs they are made on, and the batch they are trained with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glta_cli.graph.histories import next_items, reads_histories, user_states
from glta_cli.plugin.interaction_graph import InteractionGraph
from glta_cli.testing.drawn import draw_split, draw_text_vectors
from glta_cli.training.loop import trainable
from glta_cli.training.losses import bpr_loss

# Users with a positive and a negative item each; users 0 and 3 and item 2 stand there twice.
BATCH_USERS = (0, 1, 3, 0, 12, 3)
BATCH_ITEMS = ((2, 0, 16, 2, 7, 1), (4, 5, 6, 15, 2, 9))


def drawn_graph(seed: int = 0) -> InteractionGraph:
    """13 users and 17 items, one of either without an edge."""
    return InteractionGraph(draw_split(seed)[0])


def drawn_texts(seed: int = 0) -> Tensor:
    """Vectors of the items' texts, float32 [I, D]."""
    return torch.from_numpy(draw_text_vectors(seed))


@dataclass(frozen=True)
class Encoders:
    """Makes encoders of one class and settings."""

    target: Callable[..., Any]
    settings: Any

    @property
    def takes_texts(self) -> bool:
        """Whether it asks for the vectors of item texts."""
        return bool(getattr(self.target, "needs_text_vectors", False))

    @property
    def reads_histories(self) -> bool:
        """Whether it embeds users by what they met, in order."""
        return bool(getattr(self.target, "reads_histories", False))

    def made(self, graph: InteractionGraph, texts: Tensor) -> Any:
        """One on the graph, given the text vectors [I, D] where it asks for them."""
        return self.target(graph, self.settings, *([texts] if self.takes_texts else []))

    def on(self, graph: InteractionGraph, *, seed: int = 0, texts: int = 0) -> Any:
        """One drawn with a seed on the graph given, for texts drawn with another."""
        torch.manual_seed(seed)
        return self.made(graph, drawn_texts(texts))

    def draw(self, *, seed: int = 0, graph: int = 0, texts: int = 0) -> Any:
        """An encoder drawn with a seed on the graph drawn with another, for texts drawn with a third."""
        return self.on(drawn_graph(graph), seed=seed, texts=texts)


def batch(device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """User indices [B] and item indices [2, B], positives and negatives."""
    return torch.tensor(BATCH_USERS, device=device), torch.tensor(BATCH_ITEMS, device=device)


def training_loss(encoder: Any, device: torch.device | str = "cpu") -> Tensor:
    """A loss as stage 1 takes it: BPR over what `forward` gives, and then `extra_loss`; of histories the next item."""
    if reads_histories(encoder):
        return next_item_loss(encoder, device)
    users, items = batch(device)
    user_vectors, item_vectors = encoder()
    loss: Tensor = bpr_loss(user_vectors[users], *item_vectors[items]) + encoder.extra_loss(users, items)
    return loss


def next_item_loss(encoder: Any, device: torch.device | str = "cpu") -> Tensor:
    """Cross-entropy of every item but the first of the drawn histories, given those before it."""
    histories = draw_split(0)[0]
    predicted = next_items(histories, encoder.longest_history())
    inputs, targets = (
        torch.from_numpy(each.rows(histories.items)).to(device) for each in (predicted.earlier(), predicted)
    )  # [B, L] each
    states = encoder.encode(inputs)[inputs >= 0]  # [P, d]
    return F.cross_entropy(states @ encoder.items().T, targets[inputs >= 0])


def two_steps(encoder: nn.Module) -> list[float]:
    """Take two steps of Adam on the batch; the losses before each."""
    encoder.train()
    optimizer = torch.optim.AdamW(trainable(encoder).values(), lr=0.01)
    losses = []
    for _ in range(2):
        optimizer.zero_grad()
        loss = training_loss(encoder)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def embeddings(encoder: nn.Module) -> tuple[Tensor, Tensor]:
    """As validation and serving see them: in eval mode, without gradients."""
    encoder.eval()
    with torch.no_grad():
        if reads_histories(encoder):
            return user_states(encoder, draw_split(0)[0]), encoder.items()  # type: ignore[operator]
        users, items = encoder()
    return users, items
