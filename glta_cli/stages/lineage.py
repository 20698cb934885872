"""The names of the stages in order, and what each reads before it, directly or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glta_cli.stages.refit_names import REFITTED, refit_name

if TYPE_CHECKING:
    from glta_cli.recipe.schema import Recipe

STAGES = (
    "prepare",
    "encode-items",
    "pretrain-graph",
    "fit-linear",
    "align",
    "describe-users",
    "finetune",
    "index",
    *map(refit_name, REFITTED),
    "serving-index",
)

# What answers are given from; figures are those of `index`.
SERVING = "serving-index"

# What comes before the language model, in order.
ENCODER_STAGES = ("prepare", "encode-items", "pretrain-graph", "fit-linear")

# What a recipe with `finetune.enabled: false` has not.
_WITH_LANGUAGE_MODEL = ("align", "describe-users", "finetune")
LANGUAGE_STAGES = (*_WITH_LANGUAGE_MODEL, *map(refit_name, _WITH_LANGUAGE_MODEL))
GO_ON = "glta recommend and glta evaluate go on without"


def lineage_of(stage: str, recipe: Recipe) -> set[str]:
    """The stage and everything it reads under this recipe, directly or not."""
    from glta_cli.stages.order import STAGES as LATER_STAGES

    inputs = {each.name: each.reads(recipe) for each in LATER_STAGES}
    found, pending = set(), [stage]
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += inputs.get(name, ())
    return found
