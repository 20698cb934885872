"""Settings of the graph encoders, free of torch."""

from typing import Literal, Self

from pydantic import Field, model_validator

from glta_cli.plugin import Settings


class LightGCNSettings(Settings):
    """LightGCN; the defaults are its authors', but for the start and for their three layers."""

    dimension: int = Field(64, ge=1, le=65_536, description="d, of user and item embeddings")
    # Under the softmax two layers ranked better than three on validation data of MovieLens-100K, Amazon Scientific
    # and Amazon Sports, and got there in fewer epochs.
    layers: int = Field(2, ge=0, le=1_000, description="propagations; 0 is matrix factorisation")
    regularization: float = Field(1e-4, ge=0, description="weight of a batch's squared layer-0 embeddings")
    start: Literal["spectral", "random"] = Field(
        "spectral", description="initial embeddings: singular vectors of the interactions, or normal noise"
    )
    initial_scale: float = Field(0.1, gt=0, description="root mean square of the initial embeddings")


class MatrixFactorisationSettings(LightGCNSettings):
    """LightGCN without propagation."""

    layers: int = Field(0, ge=0, le=0, description="propagations: none")


class HCCFSettings(LightGCNSettings):
    """HCCF."""

    layers: int = Field(2, ge=1, le=1_000, description="propagations L, along edges and through hyperedges")
    # Its authors take 128 for 32 dimensions, and drop half. On validation data of MovieLens-100K fewer hyperedges and
    # nothing dropped ranked better: many columns of H span what E_0 spans, and say nothing of their own.
    hyperedges: int = Field(8, ge=1, le=65_536, description="K, of users and as many of items")
    slope: float = Field(0.5, ge=0, le=1, description="of the LeakyReLU below zero; 1 leaves it out")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of edges and of hyperedges' entries, in training")
    contrast: float = Field(1e-3, ge=0, description="weight λ of the contrast between both views")
    temperature: float = Field(1.0, gt=0, description="τ of the contrast between both views")
    contrasted: int = Field(
        256, ge=2, le=2**31 - 1, description="users and items of a batch that are contrasted, at most"
    )


class TextContrastSettings(Settings):
    """The contrast between embeddings and projected texts."""

    # Ten times the weight lowers NDCG on validation data of MovieLens-100K, where texts are titles and genres.
    text_contrast: float = Field(0.01, ge=0, description="weight λ of the contrast with the texts")
    text_temperature: float = Field(0.5, gt=0, description="τ of the contrast with the texts")
    contrasted: int = Field(
        256, ge=2, le=2**31 - 1, description="users and items of a batch that are contrasted, at most"
    )


class LightGCNPlusSettings(TextContrastSettings, LightGCNSettings):
    """LightGCN+."""

    text_users: bool = Field(True, description="contrast users too, with the mean of their items' texts")


class HCCFPlusSettings(TextContrastSettings, HCCFSettings):
    """HCCF+."""

    text_users: bool = Field(True, description="contrast users too, with the mean of their items' texts")


class RLMRecConSettings(TextContrastSettings, LightGCNSettings):
    """RLMRec-Con."""


class RLMRecGenSettings(LightGCNSettings):
    """RLMRec-Gen."""

    masked: float = Field(0.05, gt=0, lt=1, description="share of the nodes that are masked in a training step")
    reconstruction: float = Field(0.03, ge=0, description="weight λ of the masked nodes' texts")
    text_temperature: float = Field(0.2, gt=0, description="τ of the masked nodes' texts")
    contrasted: int = Field(256, ge=2, le=2**31 - 1, description="masked nodes told from each other, at most")


class AlphaRecSettings(Settings):
    """AlphaRec."""

    dimension: int = Field(64, ge=1, le=65_536, description="d, of user and item embeddings")
    layers: int = Field(2, ge=0, le=1_000, description="propagations L")
    # A learning rate below the default recipe's suits it: 2e-3 ranked best on validation data of MovieLens-100K.
    projection: Literal["linear", "mlp"] = Field("mlp", description="of the text vectors: W t, or two layers")


class SASRecSettings(Settings):
    """SASRec."""

    dimension: int = Field(64, ge=1, le=65_536, description="d, of items and states")
    layers: int = Field(2, ge=1, le=1_000, description="attention layers")
    heads: int = Field(1, ge=1, le=65_536, description="attention heads h of a layer, a divisor of dimension")
    dropout: float = Field(0.2, ge=0, lt=1, description="share of numbers, and of attention, dropped in training")
    longest_history: int = Field(50, ge=1, le=65_536, description="items read of a history, the newest, at most")

    @model_validator(mode="after")
    def _heads_share_the_dimension(self) -> Self:
        if self.dimension % self.heads:
            raise ValueError(
                f"{self.heads} heads cannot share a dimension of {self.dimension}, which is no multiple of it"
            )
        return self


class SASRecTextSettings(SASRecSettings):
    """SASRec with item texts."""
