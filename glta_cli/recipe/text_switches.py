"""The stages that read item texts, and whether a recipe asks for them in so many words.

By default a recipe has them. Where nothing is written about the items they drop out by themselves, but what somebody
asked for is not left out behind their back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glta_cli.recipe.fused_terms import with_terms_said
from glta_cli.recipe.schema import Recipe

TEXT_SWITCHES = (("align", "enabled"), ("interests", "profile"), ("interests", "prediction"))


def asks_for(recipe: Recipe, section: str, key: str) -> bool:
    """Whether the recipe itself switches it on, and not the default."""
    settings = getattr(recipe, section)
    return bool(getattr(settings, key)) and key in settings.model_fields_set


def mark_given(recipe: Recipe, values: Mapping[str, Any]) -> None:
    """Have the recipe know which of the switches stood in its values, before they were filled with the defaults."""
    for section, key in TEXT_SWITCHES:
        given = values.get(section)
        if not isinstance(given, Mapping) or key not in given:
            getattr(recipe, section).model_fields_set.discard(key)


def without_defaults(values: Mapping[str, Any], recipe: Recipe | None = None) -> dict[str, Any]:
    """The values of a recipe that was dumped whole, without the switches nobody turned on.

    One dumped before there was a choice of terms says those there were.

    Args:
        recipe: what was dumped; None where that is not known, and then a switch that is on is taken for the default.
    """
    kept = with_terms_said(values)
    for section, key in TEXT_SWITCHES:
        held = kept.get(section)
        if isinstance(held, Mapping) and held.get(key) is True and not (recipe and asks_for(recipe, section, key)):
            kept[section] = {name: value for name, value in held.items() if name != key}
    return kept
