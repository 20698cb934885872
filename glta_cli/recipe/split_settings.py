"""How a dataset is divided: a part of the schema of recipes, and of its defaults."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from glta_cli.plugin.settings import Settings
from glta_cli.recipe.limits import LARGEST_INTEGER


class SplitSettings(Settings):
    """How interactions are divided; EVALUATION protocol: selection on validation, test read once."""

    strategy: Literal["ratio", "leave-last-out", "temporal", "given", "cold-items", "cold-users"] = Field(
        "ratio",
        description="per user at random; each user's last two; one global cut in time; the dataset's own parts; or "
        "items or users hidden from all that is learnt",
    )
    validation: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="share of interactions for model selection, of hidden items or users too; drawn from training "
        "where a given split has none",
    )
    test: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="share of interactions for the final figures, of hidden items or users too; a given split has "
        "its own",
    )
    seed: int = Field(0, ge=0, le=LARGEST_INTEGER, description="seed of the random split, below 2^63")

    @property
    def in_time(self) -> bool:
        """Whether every user's validation interactions lie before the test ones, and after those of training."""
        return self.strategy in ("leave-last-out", "temporal")

    @property
    def hides(self) -> Literal["items", "users"] | None:
        """What is hidden from everything that is learnt, if anything is."""
        hidden: dict[str, Literal["items", "users"]] = {"cold-items": "items", "cold-users": "users"}
        return hidden.get(self.strategy)

    @property
    def drawn(self) -> bool:
        """Whether another seed gives another split."""
        return not self.in_time
