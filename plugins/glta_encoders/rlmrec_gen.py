"""RLMRec-Gen."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glta_cli.plugin import InteractionGraph
from glta_encoders.contrast import info_nce
from glta_encoders.lightgcn import LightGCN
from glta_encoders.settings import RLMRecGenSettings
from glta_encoders.text_contrast import two_layers, user_texts


class RLMRecGen(LightGCN):
    """RLMRec's generative alignment on LightGCN: the texts of masked nodes are read off their neighbourhoods.

    In training, E_0 of a share of the nodes, drawn anew in every step, is one trained token; it is propagated like
    the rest, and that is also what the recommendation loss sees. Then for the masked nodes n

    λ · mean_n -log softmax_m(cos(g(e_n), t_m) / τ) at m = n,   g = W_2 · LeakyReLU(W_1 e + b_1) + b_2, [d] -> [D]

    Otherwise embeddings are LightGCN's. Where it differs from the original: the text t of a user is the mean of the
    vectors of the user's items in this graph, of unit length, in place of the vector of a profile that an LLM wrote;
    and of the masked nodes at most `contrasted` are told from each other.

    Source: Ren et al., Representation Learning with Large Language Models for Recommendation, WWW 2024, section 3.3.
    """

    needs_text_vectors = True
    texts: Tensor

    def __init__(self, graph: InteractionGraph, settings: RLMRecGenSettings, text_vectors: Tensor) -> None:
        """`text_vectors` are float32 [I, D]."""
        super().__init__(graph, settings)
        self.gen_settings = settings
        self.mask_token = nn.Parameter(torch.zeros(settings.dimension))
        self.reader = two_layers(settings.dimension, text_vectors.shape[1])  # g
        texts = torch.cat([user_texts(graph, text_vectors), text_vectors])  # [U+I, D]
        self.register_buffer("texts", texts, persistent=False)
        # Of the last forward() in training: masked nodes [M] and their embeddings [M, d].
        self.masked: tuple[Tensor, Tensor] | None = None

    def forward(self) -> tuple[Tensor, Tensor]:
        """E split into users [U, d] and items [I, d]; in training with masked nodes."""
        if not self.training:
            return super().forward()
        return self.with_masked(self.drawn_mask())

    def sampled_hops(self) -> int | None:
        """None: nodes of the whole graph are masked."""
        return None

    def drawn_mask(self) -> Tensor:
        """A share of all nodes, at random, one at least: [M]."""
        count = max(1, round(self.gen_settings.masked * self.graph.node_count))
        return torch.randperm(self.graph.node_count, device=self.embeddings.device)[:count]

    def with_masked(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """E with the token in place of E_0 of those nodes [M]."""
        token = self.mask_token.expand(len(nodes), -1)
        users, items = self.propagated(self.embeddings.index_copy(0, nodes, token))
        told = nodes[: self.gen_settings.contrasted]
        self.masked = told, F.embedding(told, torch.cat([users, items]))
        return users, items

    def extra_loss(self, users: Tensor, items: Tensor) -> Tensor:
        """LightGCN's regulariser for a batch of [B] and [B] or [2, B], and the reconstruction of the masked texts."""
        if self.masked is None:
            self.with_masked(self.drawn_mask())
        assert self.masked is not None
        nodes, embeddings = self.masked
        told = info_nce(self.reader(embeddings), self.texts[nodes], self.gen_settings.text_temperature)
        return super().extra_loss(users, items) + self.gen_settings.reconstruction * told
