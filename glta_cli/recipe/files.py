"""Recipes as files: found by path or name, read, overridden and checked.

Unknown keys, duplicate keys and values of the wrong type are errors with file, line and column, all of a file at once.
"""

from __future__ import annotations

import json
import re
import shlex
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Any

from glta_cli.core.errors import GltaError, InputError, InputErrors, did_you_mean
from glta_cli.recipe.automatic import Setting, without_automatic
from glta_cli.recipe.checks import validate_recipe
from glta_cli.recipe.grids import grid_errors
from glta_cli.recipe.limits import (
    DEEPEST,
    LARGEST_FILE,
    LONGEST_NAME_SHOWN,
    TOO_DEEP,
    TOO_LARGE,
    cut,
    dotted,
    in_file_order,
    value_problems,
)
from glta_cli.recipe.positioned_yaml import Key, Position, read_yaml
from glta_cli.recipe.schema import Recipe, listed_by_name
from glta_cli.recipe.selection import COMPONENTS_KEYS, components_at
from glta_cli.recipe.shipped_files import recipe_folder as recipe_folder
from glta_cli.recipe.shipped_files import recipe_name as recipe_name
from glta_cli.recipe.shipped_files import shipped_recipes as shipped_recipes
from glta_cli.recipe.shipped_variants import VARIANTS
from glta_cli.recipe.validation import place, validated
from glta_cli.recipe.variants import variant_of

HOW_TO_LIST = "`glta recipes` lists those there are"


@dataclass(frozen=True)
class LoadedRecipe:
    """A validated recipe, its name, and what it was read from.

    Attributes:
        automatic: keys of the settings it leaves to the machine, which have their defaults in `recipe`.
    """

    name: str
    recipe: Recipe
    path: Path | None
    automatic: frozenset[Setting] = frozenset()


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
    values, automatic = without_automatic(values, unsaid=True)
    return LoadedRecipe(recipe_name(path), _checked(values, positions), path, automatic)


def read_recipe(path: Path) -> Recipe:
    """Read a recipe by the schema alone: the plugins it selects need not be installed."""
    values, positions = read_yaml(read_text(path), str(path))
    return validated(Recipe, values, (), positions)


def recipe_from(values: Mapping[str, Any], overrides: Sequence[str] = (), *, file: Path | None = None) -> Recipe:
    """As `stored_recipe`, without regard to what is left to the machine."""
    return stored_recipe("", values, overrides, file=file).recipe


def stored_recipe(
    name: str, values: Mapping[str, Any], overrides: Sequence[str] = (), *, file: Path | None = None
) -> LoadedRecipe:
    """A recipe from plain values, such as those of a stored run, with overrides applied.

    Args:
        file: where the values were stored: the place of what is wrong with them.
    """
    stored_at = None if file is None else str(file)
    if not isinstance(values, Mapping):
        raise InputErrors([InputError("a recipe is a mapping of keys to values", location=stored_at)])
    merged = dict(values)
    positions: dict[Key, Position] = {}
    for override in overrides:
        _apply_override(override, merged, positions)
    merged, automatic = without_automatic(merged, unsaid=False)
    try:
        return LoadedRecipe(name, _checked(merged, positions), file, automatic)
    except InputErrors as several:
        at = stored_at
        if overrides and stored_at is not None and _holds_without(values):
            at = ", ".join(cut(f"--set {each.partition('=')[0]}", LONGEST_NAME_SHOWN) for each in overrides)
        for error in several.errors:
            error.location = error.location or at
        raise


def _holds_without(values: Mapping[str, Any]) -> bool:
    """Whether stored values are a recipe by themselves, so that what was set is to blame."""
    try:
        _checked(without_automatic(dict(values), unsaid=False)[0], {})
    except InputErrors:
        return False
    return True


def _checked(values: Mapping[str, Any], positions: Mapping[Key, Position]) -> Recipe:
    """A recipe with all it holds, the variants it adds to the schema's included."""
    # Again where a file was read: an override may go deeper, and a stored run comes as it is.
    beyond = [
        InputError(f"{dotted(key)}: {problem}" if key else problem, location=place(key, positions))
        for key, problem in value_problems(values)
    ]
    if beyond:
        raise InputErrors(in_file_order(beyond))
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


def find_recipe(reference: str) -> Path:
    """A path as it is, or the file of a shipped name; raises `InputError` with the nearest name."""
    if not str(reference).strip():
        hint = "name a shipped recipe (`glta recipes`) or a YAML file"
        raise InputError("no recipe is named", location="--recipe", hint=hint)
    path = Path(reference)
    shown = cut(str(reference), LONGEST_NAME_SHOWN)
    try:
        status = path.stat()
    except FileNotFoundError:
        status = None
    except (OSError, ValueError) as error:
        # A name too long, a folder that may not be looked into, a NUL.
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"no such recipe: {reason}", location=shown, hint=HOW_TO_LIST) from error
    if status is not None and S_ISREG(status.st_mode):
        return path
    shipped = shipped_recipes()
    if reference in shipped:
        return shipped[reference]
    # A checkout's path, such as recipes/quickstart.yaml, also works from an installed package.
    named = path.as_posix().removesuffix(path.suffix).removeprefix("recipes/")
    if path.suffix == ".yaml" and named in shipped:
        return shipped[named]
    if status is not None:
        what = "a folder" if S_ISDIR(status.st_mode) else "a pipe or a device"
        hint = "name a YAML file inside it" if S_ISDIR(status.st_mode) else "write what it gives into a file first"
        raise InputError(f"is {what}, and a recipe is a file", location=shown, hint=hint)
    hint = did_you_mean(named, list(shipped)) or f"shipped recipes: {', '.join(shipped)}"
    raise InputError("no such recipe", location=shown, hint=hint)


def describe_first_line(path: Path) -> str:
    """The command a recipe starts with: its first line without the comment mark."""
    lines = read_text(path).splitlines()
    return lines[0].lstrip("# ").strip() if lines else ""


def describe_purpose(path: Path) -> str:
    """What a recipe is for: the sentence in its second line; nothing where that is no comment."""
    lines = read_text(path).splitlines()
    return lines[1].lstrip("# ").strip() if len(lines) > 1 and lines[1].startswith("#") else ""


def read_text(path: Path) -> str:
    """The text of a recipe file, without a byte order mark; raises `InputError` where it is none."""
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", location=str(path)) from error
    if len(content) > LARGEST_FILE:
        raise InputError(
            f"{path.stat().st_size:,} bytes are no recipe: {TOO_LARGE}",
            location=str(path),
            hint="data belong in files of their own; dataset.source names them",
        )
    if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        hint = f"iconv -f UTF-16 -t UTF-8 {shlex.quote(str(path))}"
        raise InputError("is UTF-16, and a recipe is UTF-8", location=str(path), hint=hint)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, len(before[before.rfind(b"\n") + 1 :].decode("utf-8-sig")) + 1
        raise InputError(
            f"byte 0x{content[error.start]:02x} is not UTF-8",
            location=str(Position(str(path), line, column)),
            hint="save the file as UTF-8",
        ) from error


def _apply_override(override: str, values: dict[str, Any], positions: dict[Key, Position]) -> None:
    name, equals, text = override.partition("=")
    shown = f"--set {cut(override, LONGEST_NAME_SHOWN)}"
    if not equals or not name:
        raise InputError("an override is KEY=VALUE", location=shown, hint="such as --set seed=1")
    path = tuple(name.strip().split("."))
    if len(path) > DEEPEST:
        raise InputErrors([InputError(TOO_DEEP, location=shown)])
    try:
        parsed, _ = read_yaml(f"value: {_as_text(text)}", shown)
    except InputErrors as several:
        for error in several.errors:
            # The line and the key are those of the text around the value.
            error.location = shown
            error.problem = re.sub(r"^value\b", lambda found: dotted(path), error.problem)
        raise
    if parsed.keys() != {"value"}:
        # A line break would start another key, which nobody would read.
        raise InputErrors([InputError("an override sets one key", location=shown, hint="one --set for each")])
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
    positions[path] = Position(f"--set {cut(name, LONGEST_NAME_SHOWN)}", 1, 1)


def _as_text(text: str) -> str:
    """What begins as no YAML value of one line can, such as %d.%m.%Y or a single comma, in quotes."""
    return json.dumps(text) if text.lstrip()[:1] in tuple("%@`,|>") else text


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
