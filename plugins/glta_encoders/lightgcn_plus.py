"""LightGCN+."""

from __future__ import annotations

from torch import Tensor, nn

from glta_cli.plugin import InteractionGraph
from glta_encoders.lightgcn import LightGCN
from glta_encoders.settings import LightGCNPlusSettings
from glta_encoders.text_contrast import TextContrast, TextContrasted


class LightGCNPlus(TextContrasted, LightGCN):
    """LightGCN, whose embeddings must tell the items by their texts and the texts by their items.

    Embeddings are LightGCN's; the loss adds `TextContrast` with a linear projection f(t) = W t, W [d, D]. Users are
    contrasted with the mean of their items' texts where `text_users` says so.

    Source: the text-aware variants of Yang et al., Training Large Recommendation Models via Graph-Language Token
    Alignment, WWW 2025 Companion: InfoNCE between node embeddings and sentence embeddings of the descriptions.
    """

    def __init__(self, graph: InteractionGraph, settings: LightGCNPlusSettings, text_vectors: Tensor) -> None:
        """`text_vectors` are float32 [I, D]."""
        super().__init__(graph, settings)
        projection = nn.Linear(text_vectors.shape[1], settings.dimension, bias=False)
        self.texts = TextContrast(graph, text_vectors, projection, settings, users=settings.text_users)
