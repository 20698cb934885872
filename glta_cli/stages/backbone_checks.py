"""What the backbones of a run say, before its first stage, of all its stages will ask of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from glta_cli.core.errors import InputError
from glta_cli.core.world import launched
from glta_cli.data.prepared import PreparedDataset
from glta_cli.plugin import CheckedBackbone, Demand, LongPrompt
from glta_cli.recipe.schema import Recipe
from glta_cli.stages.backbone import backbone_of
from glta_cli.stages.stage import Stage

# Stages that train through the language model: one that only reads, to answer, may hold it whole.
TRAINED = ("align", "finetune")


def check_backbones(stages: Sequence[Stage], recipe: Recipe, prepared: PreparedDataset) -> None:
    """Have the backbones these stages load look at what is asked of them, as far as they can before they are loaded.

    Raises:
        GltaError: what a backbone says it cannot do; weights that nobody is there to share with.
    """
    if recipe.backbone.shard is True and launched().size == 1 and any(stage.name in TRAINED for stage in stages):
        raise InputError(
            "there is one process, and nothing to share the weights with",
            location="backbone.shard",
            hint="start several (--processes 2, or torchrun), or --set backbone.shard=false: results stay found",
        )
    loading: dict[str, list[Stage]] = {}
    for stage in stages:
        loading.setdefault(stage.loading(recipe).backbone.model_dump_json(), []).append(stage)
    for together in loading.values():
        backbone = backbone_of(together[0].loading(recipe))
        if isinstance(backbone, CheckedBackbone):
            writes = any(stage.writes_words for stage in together)
            backbone.check_demand(Demand(partial(_longer_than, together, recipe, prepared), writes))


def _longer_than(
    stages: Sequence[Stage], recipe: Recipe, prepared: PreparedDataset, tokenizer: Any, most: int | None
) -> list[LongPrompt]:
    found = [(stage, stage.longest_prompt(recipe, prepared, tokenizer, most)) for stage in stages]
    return [
        LongPrompt(stage.name, tokens, stage.shortening)
        for stage, tokens in found
        if most is not None and tokens > most
    ]
