"""What a run's stored recipe says, whichever version stored it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from glta_cli.recipe.fused_terms import with_terms_said
from glta_cli.recipe.schema import Recipe


def completed(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A stored recipe with all settings: one that was not there yet when it was stored has today's default.

    But for the terms: where there was no choice yet, they are those there were.
    """
    from glta_cli.core.errors import InputErrors
    from glta_cli.recipe.validation import validated

    try:
        return validated(Recipe, with_terms_said(recipe), (), {}).model_dump(mode="json")
    except InputErrors:
        return dict(recipe)  # of another version, with settings this one does not know


def deciding(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A stored recipe without the two sections no stage reads for what it publishes: how to evaluate, and who is told.

    Stages read `evaluate.batch_size`, which says how many prompts go through the model at once, not what comes out.
    A setting there was not yet when the recipe was stored has today's default: nothing was changed by hand.
    """
    return {**completed(recipe), "evaluate": None, "loggers": None}


def differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The settings in which two stored recipes differ, under dotted names: [value in the first, in the second].

    One that a recipe does not have, as an option of a plugin it does not select, is None there.
    """
    one, other = (dict(_leaves(completed(recipe))) for recipe in (first, second))
    names = dict.fromkeys([*one, *other])
    return {name: [one.get(name), other.get(name)] for name in names if one.get(name) != other.get(name)}


def changed_from_defaults(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a stored recipe that are not the defaults, under dotted names."""
    return {name: value for name, (_, value) in differing({}, recipe).items()}


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value if value != {} else None
