"""Graph encoders (stage 1): what their class has to offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from pydantic import BaseModel
    from torch import Tensor

    from glta_cli.plugin.interaction_graph import InteractionGraph
    from glta_cli.plugin.node_sample import NodeSample


class GraphEncoder(Protocol):
    """A `torch.nn.Module` that embeds the users and items of one interaction graph (stage 1).

    Its parameters must not depend on the edges, only on the numbers of users and items: the aligned model
    is trained on a graph without its targets, measured on the whole training graph and served on the graph of all
    interactions, with the same parameters.
    What follows from the edges is a buffer that is not saved: `register_buffer(..., persistent=False)`.
    An encoder that takes the item texts as well is a `TextGraphEncoder`, one whose users are what they met, in order, a
    `SequenceEncoder`.

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


class SampledGraphEncoder(GraphEncoder, Protocol):
    """A graph encoder that can be trained on samples of its graph (`graph.neighbours`): it has these two methods too.

    It keeps the graph as its attribute `graph`. A training step then asks `of_sample` for the nodes of its batch in
    place of `forward`, which validation and what is published go on to ask; `extra_loss` must not need the latter.

    Example:
        import torch
        import torch.nn.functional as F
        from torch import nn

        from glta_cli.plugin import Settings

        class OneHopSettings(Settings):
            dimension: int = 64

        class OneHop(nn.Module):
            def __init__(self, graph, settings):
                super().__init__()
                self.graph = graph
                self.nodes = nn.Parameter(0.1 * torch.randn(graph.node_count, settings.dimension))

            def forward(self):  # -> [U, d], [I, d]
                return self.graph.propagate(self.nodes).split([self.graph.user_count, self.graph.item_count])

            def sampled_hops(self):
                return 1

            def of_sample(self, sample):  # -> [wanted, d]
                return sample.propagate(F.embedding(sample.nodes, self.nodes))[: sample.wanted]

            def extra_loss(self, users, items):
                return self.nodes.new_zeros(())
    """

    graph: InteractionGraph

    def sampled_hops(self) -> int | None:
        """How often it propagates: as many numbers `graph.neighbours` has. None where it takes no samples after all."""
        ...

    def of_sample(self, sample: NodeSample) -> Tensor:
        """Return the embeddings of the wanted nodes of a sample: [wanted, d], float32.

        They are the rows of `forward()` where the sample holds every neighbour.
        """
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


class SequenceEncoder(Protocol):
    """A `torch.nn.Module` that embeds users by what they met in order: its class has a true `reads_histories`.

    A user's vector is the state at the newest item, an item's score its product with that; both are scaled to unit
    length where `graph.unit_length` says so. Trained is the next item at every place of the training histories, against
    the catalogue (`graph.loss` softmax) or one item drawn (bpr); histories are in order of time, or of the source where
    it has no times. An interaction that counts for more weighs more in the loss. One such model serves whatever the
    history is: users are encoded by the training items to choose an epoch, by what is known when the test is ranked,
    and by everything known to answer.

    Its parameters must not depend on the edges of the graph, nor on the number of users: a user who is new is encoded
    like any other. One that takes the item texts as well is a `TextSequenceEncoder`.

    Example:
        import torch
        import torch.nn.functional as F
        from torch import nn

        from glta_cli.plugin import Settings

        class DecayingMeanSettings(Settings):
            dimension: int = 64
            longest_history: int = 50

        class DecayingMean(nn.Module):
            reads_histories = True

            def __init__(self, graph, settings):
                super().__init__()
                self.settings = settings
                self.item_vectors = nn.Parameter(0.1 * torch.randn(graph.item_count, settings.dimension))
                self.decay = nn.Parameter(torch.zeros(()))

            def longest_history(self):
                return self.settings.longest_history

            def items(self):  # -> [I, d]
                return self.item_vectors

            def encode(self, histories):  # [B, L] -> [B, L, d]
                held = (histories >= 0)[:, :, None]
                vectors = F.embedding(histories.clamp(min=0), self.item_vectors) * held
                state, states = torch.zeros_like(vectors[:, 0]), []
                for place in range(histories.shape[1]):
                    state = torch.sigmoid(self.decay) * state + vectors[:, place]
                    states.append(state)
                return torch.stack(states, dim=1)
    """

    reads_histories: ClassVar[bool]

    def __init__(self, graph: InteractionGraph, settings: BaseModel) -> None: ...

    def longest_history(self) -> int:
        """How many items of a history it reads at most: the newest. It is never given more at once."""
        ...

    def items(self) -> Tensor:
        """Return item embeddings [I, d], float32."""
        ...

    def encode(self, histories: Tensor) -> Tensor:
        """Return the states at every place of histories [B, L]: [B, L, d], float32.

        A state follows from the items at its own place and before it alone, and is what the next item is predicted
        from. How much padding a row has, and which rows stand beside it, makes no difference.

        Args:
            histories: item indices int64, the newest item of each row last; -1 pads shorter ones on the left. Each row
                has an item. States at padding are finite numbers that nobody reads.
        """
        ...


class TextSequenceEncoder(SequenceEncoder, Protocol):
    """A sequence encoder that is given the vectors of the item texts: its class has a true `needs_text_vectors` too.

    The vectors are those a `TextGraphEncoder` is given, and are kept in the same manner.

    Example:
        import torch
        import torch.nn.functional as F
        from torch import nn

        from glta_cli.plugin import Settings

        class NewestTextSettings(Settings):
            dimension: int = 64
            longest_history: int = 1

        class NewestText(nn.Module):
            reads_histories = True
            needs_text_vectors = True

            def __init__(self, graph, settings, text_vectors):
                super().__init__()
                self.settings = settings
                self.register_buffer("texts", text_vectors, persistent=False)  # [I, D]
                self.project = nn.Linear(text_vectors.shape[1], settings.dimension)

            def longest_history(self):
                return self.settings.longest_history

            def items(self):  # -> [I, d]
                return self.project(self.texts)

            def encode(self, histories):  # [B, L] -> [B, L, d]
                return F.embedding(histories.clamp(min=0), self.items())
    """

    needs_text_vectors: ClassVar[bool]

    def __init__(self, graph: InteractionGraph, settings: BaseModel, text_vectors: Tensor) -> None:
        """`text_vectors` are float32 [I, D]."""
        ...
