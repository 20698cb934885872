"""The section `dataset` of a recipe as words of a command: what differs from what the command starts from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from glta_cli.commands.options import DEFAULT_RECIPE

if TYPE_CHECKING:
    from glta_cli.recipe.files import LoadedRecipe
    from glta_cli.recipe.schema import DatasetSettings


def prepare_words(dataset: DatasetSettings) -> list[str]:
    """The command that prepares exactly this dataset, whatever recipe or run says so."""
    from glta_cli.recipe.schema import DatasetSettings

    base = recipe_about(dataset.name).recipe.dataset
    before = base if base.name == dataset.name else DatasetSettings(name=dataset.name)
    return ["glta", "prepare", dataset.name, *set_words(changed_settings(before, dataset))]


def recipe_about(dataset: str) -> LoadedRecipe:
    """The shipped recipe a dataset starts from; `quickstart` where none is about it."""
    from glta_cli.recipe.files import load_recipe, shipped_recipes

    top = sorted(name for name in shipped_recipes() if "/" not in name)
    for name in sorted(top, key=lambda name: (name != dataset, name != DEFAULT_RECIPE)):
        loaded = load_recipe(name)
        if loaded.recipe.dataset.name == dataset:
            return loaded
    return load_recipe(DEFAULT_RECIPE)


def changed_settings(before: DatasetSettings, after: DatasetSettings) -> dict[str, Any]:
    """The settings of `after` that `before` has otherwise, or not at all: values of YAML by dotted key."""
    known = _flat(before.model_dump(mode="json"))
    settings = _flat(after.model_dump(mode="json"))
    return {key: value for key, value in settings.items() if known.get(key) != value}


def set_words(changed: dict[str, Any]) -> list[str]:
    """Settings of a dataset as options `--set`."""
    words = []
    for key, value in changed.items():
        words += ["--set", f"dataset.{key}={value if isinstance(value, str) else json.dumps(value)}"]
    return words


def _flat(section: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in section.items():
        # What is a key within one of the loader's own settings is data, such as the name of an event.
        if isinstance(value, dict) and prefix != "options.":
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
