"""RLMRec-Con."""

from __future__ import annotations

from torch import Tensor

from glta_cli.plugin import InteractionGraph
from glta_encoders.lightgcn import LightGCN
from glta_encoders.settings import RLMRecConSettings
from glta_encoders.text_contrast import TextContrast, TextContrasted, two_layers


class RLMRecCon(TextContrasted, LightGCN):
    """RLMRec's contrastive alignment on LightGCN: users and items against an MLP of their texts.

    Embeddings are LightGCN's; the loss adds `TextContrast` of users and items with f = W_2 · LeakyReLU(W_1 t + b_1)
    + b_2, one f for both.

    Where it differs from the original: the text of a user is the mean of the vectors of the user's items in this
    graph, of unit length, in place of the vector of a profile that an LLM wrote; and a batch's nodes are contrasted
    with each other, in place of with the whole catalogue.

    Source: Ren et al., Representation Learning with Large Language Models for Recommendation, WWW 2024, section 3.3.
    """

    def __init__(self, graph: InteractionGraph, settings: RLMRecConSettings, text_vectors: Tensor) -> None:
        """`text_vectors` are float32 [I, D]."""
        super().__init__(graph, settings)
        projection = two_layers(text_vectors.shape[1], settings.dimension)
        self.texts = TextContrast(graph, text_vectors, projection, settings, users=True)
