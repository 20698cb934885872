"""Recipes as files: found by path or name, read, overridden and checked.

Unknown keys, duplicate keys and values of the wrong type are errors with file, line and column, all of a file at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glta_cli.core.errors import GltaError, InputError, InputErrors, did_you_mean
from glta_cli.recipe.checks import validate_recipe
from glta_cli.recipe.grids import grid_errors
from glta_cli.recipe.positioned_yaml import Key, Position, read_yaml
from glta_cli.recipe.schema import VARIANTS, Recipe, listed_by_name
from glta_cli.recipe.selection import COMPONENTS_KEYS, components_at
from glta_cli.recipe.validation import in_file_order, validated
from glta_cli.recipe.variants import variant_of


@dataclass(frozen=True)
class LoadedRecipe:
    """A validated recipe, its name, and what it was read from."""

    name: str
    recipe: Recipe
    path: Path | None


def load_recipe(reference: str, overrides: Sequence[str] = ()) -> LoadedRecipe:
    """Read a recipe by path or shipped name and apply `key=value` overrides.

    Raises:
        InputError: no such recipe.
        InputErrors: everything wrong inside it, and in the overrides.
    """
    path = find_recipe(reference)
    values, positions = read_yaml(read_text(path), str(path))
    _list_by_name(values, positions)
    for override in overrides:
        _apply_override(override, values, positions)
    return LoadedRecipe(recipe_name(path), _checked(values, positions), path)


def read_recipe(path: Path) -> Recipe:
    """Read a recipe by the schema alone: the plugins it selects need not be installed."""
    values, positions = read_yaml(read_text(path), str(path))
    return validated(Recipe, values, (), positions)


def recipe_from(values: Mapping[str, Any], overrides: Sequence[str] = ()) -> Recipe:
    """A recipe from plain values, such as those of a manifest, with overrides applied."""
    merged = dict(values)
    positions: dict[Key, Position] = {}
    for override in overrides:
        _apply_override(override, merged, positions)
    return _checked(merged, positions)


def _checked(values: Mapping[str, Any], positions: Mapping[Key, Position]) -> Recipe:
    """A recipe with all it holds, the variants it adds to the schema's included."""
    recipe = validate_recipe(values, positions)
    errors = _variant_errors(recipe, positions) or grid_errors(recipe, positions)
    if errors:
        raise InputErrors(in_file_order(errors))
    return recipe


def _variant_errors(recipe: Recipe, positions: Mapping[Key, Position]) -> list[GltaError]:
    """What is wrong with the variants the recipe adds to those of the schema."""
    errors: list[GltaError] = []
    for name, changes in recipe.evaluate.variants.items():
        if changes != VARIANTS.get(name):
            try:
                variant_of(recipe, changes, ("evaluate", "variants", name), positions)
            except InputErrors as several:
                errors += several.errors
    return errors


def recipe_folder() -> Path:
    """Where the shipped recipes lie: in the installed package, or the repository of an editable install."""
    package = Path(__file__).parent.parent
    inside = package / "recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


def shipped_recipes() -> dict[str, Path]:
    """Every shipped recipe by name; nested ones as `folder/name`."""
    folder = recipe_folder()
    return {recipe_name(path): path for path in sorted(folder.rglob("*.yaml"))}


def recipe_name(path: Path) -> str:
    """The name of a recipe file: relative to the shipped folder, else its stem."""
    folder = recipe_folder().resolve()
    resolved = path.resolve()
    relative = resolved.relative_to(folder) if resolved.is_relative_to(folder) else Path(path.name)
    return relative.with_suffix("").as_posix()


def find_recipe(reference: str) -> Path:
    """A path as it is, or the file of a shipped name; raises `InputError` with the nearest name."""
    path = Path(reference)
    if path.is_file():
        return path
    shipped = shipped_recipes()
    if reference in shipped:
        return shipped[reference]
    # A checkout's path, such as recipes/quickstart.yaml, also works from an installed package.
    named = path.with_suffix("").as_posix().removeprefix("recipes/")
    if path.suffix == ".yaml" and named in shipped:
        return shipped[named]
    hint = did_you_mean(named, list(shipped)) or f"shipped recipes: {', '.join(shipped)}"
    raise InputError("no such recipe", location=reference, hint=hint)


def describe_first_line(path: Path) -> str:
    """The command a recipe starts with: its first line without the comment mark."""
    lines = read_text(path).splitlines()
    return lines[0].lstrip("# ").strip() if lines else ""


def read_text(path: Path) -> str:
    """The text of a recipe file; raises `InputError` where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", location=str(path)) from error


def _apply_override(override: str, values: dict[str, Any], positions: dict[Key, Position]) -> None:
    name, equals, text = override.partition("=")
    if not equals or not name:
        raise InputError("an override is KEY=VALUE", location=f"--set {override}", hint="such as --set seed=1")
    path = tuple(name.strip().split("."))
    parsed, _ = read_yaml(f"value: {text}", f"--set {override}")
    target = values
    for depth, part in enumerate(path[:-1], 1):
        held = target.get(part)
        if path[:depth] in COMPONENTS_KEYS.values():
            # The setting of one component leaves the others in the list.
            held = components_at(values, path[:depth])
            if not isinstance(held, dict):
                return  # the list itself is wrong, and will be told
        # Copied on the way down, so that values shared with a manifest stay as they were.
        target[part] = dict(held) if isinstance(held, dict) else {}
        target = target[part]
    value = parsed["value"]
    target[path[-1]] = listed_by_name(value) if path in COMPONENTS_KEYS.values() else value
    # What stood there in the file is no longer what is wrong.
    for key in [key for key in positions if key[: len(path)] == path]:
        del positions[key]
    positions[path] = Position(f"--set {name}", 1, 1)


def _list_by_name(values: dict[str, Any], positions: dict[Key, Position]) -> None:
    """Turn lists of components into mappings, so that what is wrong with a component has the place of its name."""
    for section in COMPONENTS_KEYS.values():
        listed = components_at(values, section)
        if section not in positions or not isinstance(listed, dict):
            continue
        held: Any = values
        for part in section[:-1]:
            held = held[part]
        held[section[-1]] = listed
        names = list(listed)
        for key, position in list(positions.items()):
            match key[len(section) :]:
                # An entry is a name, or a mapping whose one key is the name.
                case (int(index), *inside) if key[: len(section)] == section:
                    positions[(*section, names[index], *inside[1:])] = position
