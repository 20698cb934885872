"""How large a language model is, as its plugin says without the libraries that make one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BackboneSize:
    """What is counted of a language model, for an estimate of time.

    Attributes:
        hidden: width of its states.
        layers: how many it has.
        layer_parameters: of one layer; all are alike.
        other_parameters: beside its layers, its embeddings and the head over its vocabulary, such as the last norm.
        vocabulary: how many tokens it can write.
    """

    hidden: int
    layers: int
    layer_parameters: int
    other_parameters: int
    vocabulary: int
