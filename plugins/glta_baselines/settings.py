"""Settings of the baselines."""

from typing import Any

from pydantic import Field

from glta_cli.plugin import Settings

# How a history is read when it is scored; nothing is fitted with it.
RECENCY: Any = Field(
    1.0, gt=0, le=1, description="what an item of a history weighs of the user's next newer one; 1: all the same"
)


class NoSettings(Settings):
    """Nothing to set."""


class TextOnlySettings(Settings):
    """Text alone."""

    recency: float = RECENCY


class ItemKnnSettings(Settings):
    """ItemKNN."""

    neighbours: int = Field(100, ge=1, le=2**31 - 1, description="k, the most similar items each item keeps")
    shrink: float = Field(10.0, ge=0, description="added to the product of lengths: less trust in rare items")
    recency: float = RECENCY


class EaseTextSettings(Settings):
    """EASE with item texts."""

    regularization: float = Field(100.0, gt=0, description="λ, added to the diagonal of the item-item counts")
    text_weight: float = Field(5.0, ge=0, description="a, of the rows that the texts add to the histories")
    recency: float = RECENCY


class EaseSettings(Settings):
    """EASE."""

    regularization: float = Field(300.0, gt=0, description="λ, added to the diagonal of the item-item counts")
    recency: float = RECENCY


class IalsSettings(Settings):
    """Implicit alternating least squares."""

    dimension: int = Field(64, ge=1, le=65_536, description="d, of user and item factors")
    alpha: float = Field(40.0, gt=0, description="weight that an item a user met has beyond the 1 of all others")
    regularization: float = Field(30.0, gt=0, description="λ, of the squared factors")
    iterations: int = Field(15, ge=1, le=1_000_000, description="times that users and then items are solved for")
    recency: float = RECENCY
