"""Settings of the graph encoders, free of torch."""

from pydantic import Field

from glta_cli.recipe import Settings


class LightGCNSettings(Settings):
    """LightGCN; the defaults are its authors'."""

    dimension: int = Field(64, ge=1, description="d, of user and item embeddings")
    layers: int = Field(3, ge=0, description="propagations; 0 is matrix factorisation")
    regularization: float = Field(1e-4, ge=0, description="weight of a batch's squared layer-0 embeddings")
    initial_scale: float = Field(0.1, gt=0, description="standard deviation of the initial embeddings")
