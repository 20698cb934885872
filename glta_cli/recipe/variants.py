"""Variants: a recipe with other settings, to stand beside it in an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glta_cli.core.errors import GltaError, InputError, InputErrors, did_you_mean
from glta_cli.recipe.checks import validate_recipe
from glta_cli.recipe.limits import dotted
from glta_cli.recipe.positioned_yaml import Key, Position
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.shipped_variants import VARIANT_SECTIONS
from glta_cli.recipe.text_switches import without_defaults
from glta_cli.recipe.validation import place

# Section -> the key that names its component: of another component the recipe's own settings mean nothing,
COMPONENT_NAMES = {"graph": "encoder", "backbone": "name"}
# but for those that every component of the kind has: encoders are compared at one size.
KEPT_OPTIONS = {"graph": ("dimension",), "backbone": ()}


def variant_of(
    recipe: Recipe, changes: Mapping[str, Any], key: Key = (), positions: Mapping[Key, Position] | None = None
) -> Recipe:
    """The recipe with some settings changed; how to evaluate, and who is told, stay the recipe's.

    Args:
        changes: nested, as a recipe holds them; an encoder or backbone of another name starts with its own defaults,
            but for the size of the embeddings.
        key: where in a recipe the changes stand, and the positions of that recipe's keys.

    Raises:
        InputErrors: everything wrong with the changes.
    """
    positions = positions or {}
    values = without_defaults(recipe.model_dump(mode="json", exclude={"evaluate", "loggers"}), recipe)
    for section, changed in changes.items():
        if section not in VARIANT_SECTIONS:
            name = dotted((*key, section))
            hint = did_you_mean(section, VARIANT_SECTIONS) or f"it changes {', '.join(VARIANT_SECTIONS)}"
            problem = f"{name}: a variant cannot change this"
            raise InputErrors([InputError(problem, location=place((*key, section), positions), hint=hint)])
        if not isinstance(changed, Mapping):
            # What the section's own schema says of it is what is wrong.
            values[section] = changed
            continue
        named = COMPONENT_NAMES.get(section)
        if named in changed and changed[named] != values[section][named]:
            options = values[section]["options"]
            values[section]["options"] = {name: options[name] for name in KEPT_OPTIONS[section] if name in options}
        values[section] = merged(values[section], changed)
    within = {
        at[len(key) :]: position for at, position in positions.items() if at[: len(key)] == key and len(at) > len(key)
    }
    try:
        variant = validate_recipe(values, within)
    except InputErrors as several:
        raise InputErrors([_located(error, key) for error in several.errors]) from several
    return variant.model_copy(update={"evaluate": recipe.evaluate, "loggers": recipe.loggers})


def is_encoder_alone(changes: Mapping[str, Any], recipe: Recipe) -> bool:
    """Whether a variant ranks by its graph encoder, and not by the whole model."""
    enabled = changes.get("finetune", {}).get("enabled", recipe.finetune.enabled)
    return set(changes) == {"graph"} or (not enabled and "fusion" not in changes)


def _located(error: GltaError, key: Key) -> GltaError:
    """An error of a setting, under the name the setting has in the recipe that holds the variant."""
    within = f"{dotted(key)}." if key else ""
    # What is to be set otherwise is to be set in the variant, not in the recipe around it.
    hint = error.hint and error.hint.replace("--set ", f"--set {within}")
    found = InputError(within + error.problem, location=error.location, hint=hint)
    found.__cause__ = error.__cause__
    return found


def merged(held: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with those of nested sections changed one by one."""
    result = dict(held)
    for name, value in changed.items():
        below = result.get(name)
        result[name] = merged(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return result
