"""Whether stage 3's targets come in folds under a recipe, and in how many."""

from __future__ import annotations

from glta_cli.recipe.schema import Recipe

FEWEST_FOLDS, MOST_FOLDS = 2, 100


def in_folds(recipe: Recipe) -> bool:
    """Whether stage 3's targets are dealt out to folds."""
    return recipe.finetune.enabled and recipe.finetune.targets == "folds" and recipe.graph.alignment_holdout > 0


def fold_count(recipe: Recipe) -> int:
    """As many as make each about as large as `graph.alignment_holdout` says, five of 0.2; 1 without folds."""
    if not in_folds(recipe):
        return 1
    return min(max(round(1 / recipe.graph.alignment_holdout), FEWEST_FOLDS), MOST_FOLDS)
