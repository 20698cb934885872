"""Item texts beside a graph: texts of users, projections, and the contrast between embeddings and texts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glta_cli.plugin import InteractionGraph
from glta_encoders.contrast import info_nce, some_of
from glta_encoders.settings import TextContrastSettings


class TextContrast(nn.Module):
    """Tells every node of a batch by its text, and every text by its node.

    λ · Σ_sides mean over the side's nodes n of -log softmax_m(cos(e_n, f(t_m)) / τ) at m = n

    e are the embeddings the encoder returns, t the text vectors, f a trained projection into their space; the sides
    are the users and the items of a batch, at most `contrasted` distinct ones of each.

    Args:
        text_vectors: t of the items, [I, D]; a user's is in `user_texts`.
        projection: f, [M, D] -> [M, d].
        users: whether users are contrasted too.
    """

    user_texts: Tensor
    item_texts: Tensor

    def __init__(
        self,
        graph: InteractionGraph,
        text_vectors: Tensor,
        projection: nn.Module,
        settings: TextContrastSettings,
        *,
        users: bool,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.projection = projection
        self.register_buffer("item_texts", text_vectors, persistent=False)
        self.register_buffer("user_texts", user_texts(graph, text_vectors) if users else None, persistent=False)

    def forward(self, embeddings: tuple[Tensor, Tensor], users: Tensor, items: Tensor) -> Tensor:
        """Of embeddings [U, d] and [I, d], for the users [B] and items [B] or [2, B] of a batch: a scalar."""
        loss = self.of_side(embeddings[1], self.item_texts, items)
        if self.user_texts is not None:
            loss = loss + self.of_side(embeddings[0], self.user_texts, users)
        return self.settings.text_contrast * loss

    def of_side(self, embeddings: Tensor, texts: Tensor, nodes: Tensor) -> Tensor:
        """The contrast of some of the nodes with their texts, embeddings [n, d] and texts [n, D]: a scalar."""
        chosen = some_of(nodes, self.settings.contrasted)
        return info_nce(F.embedding(chosen, embeddings), self.projection(texts[chosen]), self.settings.text_temperature)


class TextContrasted(nn.Module):
    """What an encoder with a `TextContrast` adds to the encoder it is derived from, which stands behind it."""

    needs_text_vectors = True
    texts: TextContrast
    # Of the last forward(), so that extra_loss need not propagate again.
    embedded: tuple[Tensor, Tensor] | None = None

    def forward(self) -> tuple[Tensor, Tensor]:
        """As without texts: users [U, d] and items [I, d]."""
        embedded: tuple[Tensor, Tensor] = super().forward()
        self.embedded = embedded
        return embedded

    def sampled_hops(self) -> int | None:
        """None: the contrast is with what the whole graph says of a node."""
        return None

    def extra_loss(self, users: Tensor, items: Tensor) -> Tensor:
        """The loss without texts and the contrast with them, of users [B] and items [B] or [2, B]."""
        contrast: Tensor = self.texts(self.embedded or self.forward(), users, items)
        own: Tensor = super().extra_loss(users, items)  # type: ignore[misc]
        return own + contrast


def two_layers(inputs: int, outputs: int) -> nn.Sequential:
    """An MLP with a LeakyReLU between its two layers, the width between them midway."""
    middle = (inputs + outputs) // 2
    return nn.Sequential(nn.Linear(inputs, middle), nn.LeakyReLU(), nn.Linear(middle, outputs))


def user_texts(graph: InteractionGraph, text_vectors: Tensor) -> Tensor:
    """The mean of the vectors [I, D] of a user's items, of unit length: [U, D]; zeros where a user has none."""
    return F.normalize(user_means(graph, text_vectors), dim=-1)


def user_means(graph: InteractionGraph, items: Tensor) -> Tensor:
    """For each user, the mean over the items it has an edge to, of [I, d]: [U, d], differentiable."""
    # A divides by the roots of both degrees; a mean, by the whole of the user's and by none of the item's.
    roots = graph.degrees.clamp(min=1).sqrt()[:, None]  # [N, 1]
    scaled = items * roots[graph.user_count :]
    nodes = torch.cat([scaled.new_zeros(graph.user_count, items.shape[1]), scaled])
    return graph.propagate(nodes)[: graph.user_count] / roots[: graph.user_count]
