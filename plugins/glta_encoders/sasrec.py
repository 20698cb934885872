"""SASRec."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glta_cli.plugin import InteractionGraph
from glta_encoders.settings import SASRecSettings, SASRecTextSettings

# Of the normal noise that item vectors and positions start at.
INITIAL_SCALE = 0.02


class SASRec(nn.Module):
    """A causal transformer over the items a user met; the state at the newest is the user.

    E[t] = dropout(√d · m[i_t] + p[t]);  S = E + dropout(SA(norm(E)));  E' = S + dropout(FFN(norm(S)))

    for every layer, and norm(E) of the last is the state. SA is softmax(QKᵀ/√(d/h)) V in each of h heads, over the
    items at a place and before it; FFN is relu(x W1 + b1) W2 + b2; p are learned, counted from the newest item back.
    Items are scored by the vectors m they are read by.

    Source: Kang and McAuley, Self-Attentive Sequential Recommendation, ICDM 2018, section III; the scale √d and the
    last norm are in their code. Their loss is a binary cross-entropy against one negative; glta's against the
    catalogue is that of Klenitskiy and Vasilev, Turning Dross Into Gold Loss, RecSys 2023.
    """

    reads_histories = True

    def __init__(self, graph: InteractionGraph, settings: SASRecSettings) -> None:
        super().__init__()
        self.settings = settings
        size = settings.dimension
        self.item_vectors = nn.Parameter(INITIAL_SCALE * torch.randn(graph.item_count, size))  # m [I, d]
        self.positions = nn.Parameter(INITIAL_SCALE * torch.randn(1, settings.longest_history, size))  # p [1, L, d]
        self.dropout = nn.Dropout(settings.dropout)
        self.layers = nn.ModuleList(AttentionLayer(settings) for _ in range(settings.layers))
        self.last_norm = nn.LayerNorm(size)

    def longest_history(self) -> int:
        return self.settings.longest_history

    def items(self) -> Tensor:
        """m, [I, d]."""
        return self.item_vectors

    def encode(self, histories: Tensor) -> Tensor:
        """The state at every place of histories [B, L], padded by -1 on the left: [B, L, d]."""
        held = histories >= 0  # [B, L]
        length = histories.shape[1]
        vectors = F.embedding(histories.clamp(min=0), self.items())  # [B, L, d]
        states = self.dropout(math.sqrt(self.settings.dimension) * vectors + self.positions[:, -length:])
        seen = held[:, None, None, :] & torch.ones(length, length, dtype=torch.bool, device=held.device).tril()
        # Padding sees itself: a softmax over nothing would be no number.
        seen = seen | torch.eye(length, dtype=torch.bool, device=held.device)  # [B, 1, L, L]
        for layer in self.layers:
            states = layer(states, seen)
        found: Tensor = self.last_norm(states)
        return found


class AttentionLayer(nn.Module):
    """Self-attention and a feed-forward network, each behind a norm and beside what goes past it."""

    def __init__(self, settings: SASRecSettings) -> None:
        super().__init__()
        size = settings.dimension
        self.heads = settings.heads
        self.attention_dropout = settings.dropout
        self.attention_norm, self.forward_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.projections = nn.Linear(size, 3 * size, bias=False)  # queries, keys and values
        self.inner, self.outer = nn.Linear(size, size), nn.Linear(size, size)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, states: Tensor, seen: Tensor) -> Tensor:
        """States [B, L, d] to others; `seen` [B, 1, L, L] says which places each place attends to."""
        states = states + self.dropout(self._attention(self.attention_norm(states), seen))
        hidden = self.dropout(F.relu(self.inner(self.forward_norm(states))))
        found: Tensor = states + self.dropout(self.outer(hidden))
        return found

    def _attention(self, states: Tensor, seen: Tensor) -> Tensor:
        batch, length, size = states.shape
        parts = self.projections(states).view(batch, length, 3, self.heads, size // self.heads)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)  # [B, h, L, d/h] each
        share = self.attention_dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=seen, dropout_p=share)
        return mixed.transpose(1, 2).reshape(batch, length, size)


class SASRecText(SASRec):
    """SASRec whose items are their texts, and what is learnt of each beside.

    m[i] = W t[i] + v[i], with t the text vectors [I, D], W [d, D] and v free [I, d], which starts at zero and stays
    there for items without an edge: an item nobody met is not pushed away for that, and is its text alone.

    Source: a learned addition to frozen text vectors, as in arXiv 2507.19473; here they are projected too.
    """

    needs_text_vectors = True
    texts: Tensor
    met: Tensor

    def __init__(self, graph: InteractionGraph, settings: SASRecTextSettings, text_vectors: Tensor) -> None:
        """`text_vectors` are float32 [I, D]."""
        super().__init__(graph, settings)
        nn.init.zeros_(self.item_vectors)
        met = graph.degrees[graph.user_count :] > 0
        self.register_buffer("met", met[:, None], persistent=False)  # [I, 1]
        self.register_buffer("texts", text_vectors, persistent=False)
        self.projection = nn.Linear(text_vectors.shape[1], settings.dimension, bias=False)

    def items(self) -> Tensor:
        """m, [I, d]."""
        found: Tensor = self.projection(self.texts) + self.item_vectors * self.met
        return found
