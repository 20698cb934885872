"""Settings of the baselines."""

from typing import Annotated, Any, Literal

from pydantic import Field

from glta_cli.plugin import Settings

# A number, or the one that ranks validation items best, which is chosen while the baseline is fitted.
Count = Annotated[int, Field(ge=1, le=2**31 - 1)] | Literal["auto"]
Epochs = Annotated[int, Field(ge=0, le=1_000_000)] | Literal["auto"]
Positive = Annotated[float, Field(gt=0)] | Literal["auto"]
NotNegative = Annotated[float, Field(ge=0)] | Literal["auto"]
Share = Annotated[float, Field(ge=0, le=1)] | Literal["auto"]

REGULARIZATION: Any = Field(
    "auto", description="λ, added to the diagonal of the item-item counts; auto chooses it on validation"
)
TEXT_REGULARIZATION: Any = Field(
    "auto", description="λ_F, of the weights that texts alone give; auto chooses it on validation"
)

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

    neighbours: Count = Field(
        "auto", description="k, the most similar items each item keeps; auto chooses it on validation"
    )
    shrink: NotNegative = Field(
        "auto",
        description="added to the product of lengths: less trust in rare items; auto chooses it on validation",
    )
    recency: float = RECENCY


class EaseTextSettings(Settings):
    """EASE with item texts."""

    regularization: Positive = REGULARIZATION
    text_weight: NotNegative = Field(
        "auto", description="a, of the rows that the texts add to the histories; auto chooses it on validation"
    )
    recency: float = RECENCY


class L3aeSettings(Settings):
    """L3AE."""

    regularization: Positive = REGULARIZATION
    pull: NotNegative = Field(
        "auto",
        description="λ_E / λ, how much of the regularization draws towards the weights that texts alone give; above 1 "
        "the rest is negative; auto chooses it on validation",
    )
    text_regularization: Positive = TEXT_REGULARIZATION
    recency: float = RECENCY


class AddEaseSettings(Settings):
    """Add-EASE."""

    regularization: Positive = REGULARIZATION
    text_share: Share = Field(
        "auto",
        description="the share of the weights that texts alone give, the rest is left to those of the histories; auto "
        "chooses it on validation",
    )
    text_regularization: Positive = TEXT_REGULARIZATION
    recency: float = RECENCY


class EaseSettings(Settings):
    """EASE."""

    regularization: Positive = REGULARIZATION
    recency: float = RECENCY


class ElsaSettings(Settings):
    """ELSA."""

    factors: int = Field(256, ge=1, le=65_536, description="d, of each item; the weights are of that rank")
    scaled: bool = Field(
        True,
        description="what items of a history weigh, and a scale of scores, are learnt too; false: 1, as in the paper",
    )
    epochs: Epochs = Field("auto", description="passes over the users; auto chooses them on validation, up to 40")
    batch_size: Count = Field(
        "auto",
        description="users a step, which costs items times factors² whatever they are; auto: 512, or a 64th of many",
    )
    learning_rate: float = Field(0.01, gt=0, description="of Adam")
    recency: float = RECENCY


class ElsaTextSettings(ElsaSettings):
    """ELSA with item texts."""

    # Twice as much is better on amazon-scientific and, where titles are few, on amazon-sports worse than no text.
    text_weight: float = Field(
        1.0, ge=0, description="a, of the rows that the texts add to the histories, as in ease-text; 0: none"
    )


class IalsSettings(Settings):
    """Implicit alternating least squares."""

    dimension: int = Field(64, ge=1, le=65_536, description="d, of user and item factors")
    alpha: float = Field(40.0, gt=0, description="weight that an item a user met has beyond the 1 of all others")
    regularization: float = Field(30.0, gt=0, description="λ, of the squared factors")
    iterations: int = Field(15, ge=1, le=1_000_000, description="times that users and then items are solved for")
    recency: float = RECENCY
