"""What a run's stored recipe says of its stages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glta_cli.recipe.schema import Recipe


def deciding(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A stored recipe without the two sections no stage reads for what it publishes: how to evaluate, and who is told.

    Stages read `evaluate.batch_size`, which says how many prompts go through the model at once, not what comes out.
    A setting there was not yet when the recipe was stored has today's default: nothing was changed by hand.
    """
    from glta_cli.core.errors import InputErrors
    from glta_cli.recipe.validation import validated

    try:
        complete = validated(Recipe, recipe, (), {}).model_dump(mode="json")
    except InputErrors:
        complete = dict(recipe)  # of another version, with settings this one does not know
    return {**complete, "evaluate": None, "loggers": None}
