"""Settings of the baselines."""

from pydantic import Field

from glta_cli.plugin import Settings


class NoSettings(Settings):
    """Nothing to set."""


class ItemKnnSettings(Settings):
    """ItemKNN."""

    neighbours: int = Field(100, ge=1, le=2**31 - 1, description="k, the most similar items each item keeps")
    shrink: float = Field(10.0, ge=0, description="added to the product of lengths: less trust in rare items")


class EaseTextSettings(Settings):
    """EASE with item texts."""

    regularization: float = Field(100.0, gt=0, description="λ, added to the diagonal of the item-item counts")
    text_weight: float = Field(5.0, ge=0, description="a, of the rows that the texts add to the histories")


class EaseSettings(Settings):
    """EASE."""

    regularization: float = Field(300.0, gt=0, description="λ, added to the diagonal of the item-item counts")


class IalsSettings(Settings):
    """Implicit alternating least squares."""

    dimension: int = Field(64, ge=1, le=65_536, description="d, of user and item factors")
    alpha: float = Field(40.0, gt=0, description="weight that an item a user met has beyond the 1 of all others")
    regularization: float = Field(30.0, gt=0, description="λ, of the squared factors")
    iterations: int = Field(15, ge=1, le=1_000_000, description="times that users and then items are solved for")
