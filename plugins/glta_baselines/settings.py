"""Settings of the baselines."""

from pydantic import Field

from glta_cli.plugin import Settings


class NoSettings(Settings):
    """Nothing to set."""


class EaseSettings(Settings):
    """EASE."""

    regularization: float = Field(300.0, gt=0, description="λ, added to the diagonal of the item-item counts")
