"""What a run does without item texts: what drops out, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

from glta_cli.core.errors import InputError
from glta_cli.data.prepared import PreparedDataset
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.selection import model_takes_texts


def left_out_without_texts(recipe: Recipe, stages: Set[str]) -> str:
    """What of these stages the recipe would have if there were item texts, as the end of a sentence; "" for nothing."""
    if not recipe.finetune.enabled:
        return ""
    wanted = {
        "align": recipe.align.enabled,
        "describe-users": recipe.interests.profile or recipe.interests.prediction,
        "encode-items": model_takes_texts(recipe),
    }
    names = ["text vectors" if name == "encode-items" else name for name in wanted if wanted[name] and name in stages]
    return " and ".join([*([", ".join(names[:-1])] if names[1:] else []), *names[-1:]])


def require_text(prepared: PreparedDataset, needing: str, switch: str) -> None:
    """Raise `InputError` where the dataset has no item texts, which a stage or a component cannot do without."""
    if not prepared.has_text:
        raise InputError(
            f"{prepared.name} was prepared without item texts, which {needing} needs",
            hint=f"prepare it again with its metadata file beside the interactions, or leave it out: --set {switch}",
        )


def require_texts_of(stage: str, stages: Sequence[Any], recipe: Recipe, prepared: PreparedDataset) -> None:
    """Raise `InputError` where a stage that was asked for by name, one of `stages`, lacks nothing but item texts."""
    if left_out_without_texts(recipe, {stage}):
        for each in stages:
            if each.name == stage:
                each.require_texts(prepared)
