"""Settings of the graph encoders, free of torch."""

from typing import Literal

from pydantic import Field

from glta_cli.plugin import Settings


class LightGCNSettings(Settings):
    """LightGCN; the defaults are its authors', but for the start and for their three layers."""

    dimension: int = Field(64, ge=1, description="d, of user and item embeddings")
    # Under the softmax two layers ranked better than three on validation data of MovieLens-100K, Amazon Scientific
    # and Amazon Sports, and got there in fewer epochs.
    layers: int = Field(2, ge=0, description="propagations; 0 is matrix factorisation")
    regularization: float = Field(1e-4, ge=0, description="weight of a batch's squared layer-0 embeddings")
    start: Literal["spectral", "random"] = Field(
        "spectral", description="initial embeddings: singular vectors of the interactions, or normal noise"
    )
    initial_scale: float = Field(0.1, gt=0, description="root mean square of the initial embeddings")
