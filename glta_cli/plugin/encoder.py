"""Graph encoders (stage 1): what their class has to offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from pydantic import BaseModel
    from torch import Tensor

    from glta_cli.plugin.interaction_graph import InteractionGraph


class GraphEncoder(Protocol):
    """A `torch.nn.Module` that embeds the users and items of one interaction graph (stage 1).

    Its parameters must not depend on the edges, only on the numbers of users and items: the aligned model
    is trained on a graph without its targets, measured on the whole training graph and served on the graph of all
    interactions, with the same parameters.
    What follows from the edges is a buffer that is not saved: `register_buffer(..., persistent=False)`.
    An encoder that takes the item texts as well is a `TextGraphEncoder`.

    Example:
        import torch
        from torch import nn

        from glta_cli.plugin import Settings

        class MatrixFactorisationSettings(Settings):
            dimension: int = 64

        class MatrixFactorisation(nn.Module):
            def __init__(self, graph, settings):
                super().__init__()
                self.users = nn.Parameter(0.1 * torch.randn(graph.user_count, settings.dimension))
                self.items = nn.Parameter(0.1 * torch.randn(graph.item_count, settings.dimension))

            def forward(self):  # -> [U, d], [I, d]
                return self.users, self.items

            def extra_loss(self, users, items):
                return 1e-4 * (self.users[users].square().mean() + self.items[items].square().mean())
    """

    def __init__(self, graph: InteractionGraph, settings: BaseModel) -> None: ...

    def forward(self) -> tuple[Tensor, Tensor]:
        """Return user embeddings [U, d] and item embeddings [I, d], float32."""
        ...

    def extra_loss(self, users: Tensor, items: Tensor) -> Tensor:
        """A scalar added to the loss of a batch of user indices [B] and item indices [B] or [2, B]."""
        ...


class TextGraphEncoder(GraphEncoder, Protocol):
    """A graph encoder that is given the vectors of the item texts: its class has a true `needs_text_vectors`.

    They are those of stage `encode-items`, which then runs before it: the language model's mean states, whitened and
    of unit length; a dataset without item texts is refused. They stay as they are given, and like what follows from
    the edges they are a buffer that is not saved. Parameters may depend on their width D.

    Example:
        import torch
        from torch import nn

        from glta_cli.plugin import Settings

        class ProjectedTextsSettings(Settings):
            dimension: int = 64

        class ProjectedTexts(nn.Module):
            needs_text_vectors = True

            def __init__(self, graph, settings, text_vectors):
                super().__init__()
                self.register_buffer("texts", text_vectors, persistent=False)  # [I, D]
                self.project = nn.Linear(text_vectors.shape[1], settings.dimension)
                self.users = nn.Parameter(0.1 * torch.randn(graph.user_count, settings.dimension))

            def forward(self):  # -> [U, d], [I, d]
                return self.users, self.project(self.texts)

            def extra_loss(self, users, items):
                return 1e-4 * self.users[users].square().mean()
    """

    needs_text_vectors: ClassVar[bool]

    def __init__(self, graph: InteractionGraph, settings: BaseModel, text_vectors: Tensor) -> None:
        """`text_vectors` are float32 [I, D]."""
        ...
