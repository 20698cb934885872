"""The components a recipe selects, and their own settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from glta_cli.errors import GltaError, InputError, InputErrors
from glta_cli.positioned_yaml import Key, Position
from glta_cli.recipe import Recipe, listed_by_name
from glta_cli.validation import place, validated

if TYPE_CHECKING:
    from pydantic import BaseModel

    from glta_cli.plugin import Kind


def component_options(recipe: Recipe, kind: Literal["dataset", "encoder", "backbone"]) -> BaseModel:
    """The validated own settings of the one component a recipe selects for `kind`."""
    section, name_field = COMPONENT_KEYS[kind]
    settings = getattr(recipe, section)
    return own_settings(kind, getattr(settings, name_field), settings.options, (section, "options"))


def encoder_dimension(recipe: Recipe) -> int:
    """d, the size of the embeddings, from the encoder's own settings; raises `InputError` where they have none."""
    dimension = getattr(component_options(recipe, "encoder"), "dimension", None)
    if type(dimension) is not int:
        raise InputError(
            f"the settings of {recipe.graph.encoder} have no whole number `dimension`, so nothing can be counted",
            location="graph.encoder",
            hint="every encoder's settings have a field `dimension`, the size of its embeddings",
        )
    return dimension


def encoder_needs_text_vectors(recipe: Recipe) -> bool:
    """Whether the encoder asks for the vectors of item texts; imports it, since its class says so."""
    from glta_cli.registry import installed

    return installed().find("encoder", recipe.graph.encoder).needs_text_vectors()


def own_settings(
    kind: Kind,
    name: str,
    options: Mapping[str, Any],
    key: Key,
    positions: Mapping[Key, Position] | None = None,
) -> BaseModel:
    """The settings model of a component, filled with what a recipe says under `key`.

    Raises:
        InputError: there is no such component.
        InputErrors: everything wrong with the settings.
        GltaError: their model cannot be imported.
    """
    from glta_cli.registry import installed

    return validated(installed().find(kind, name).config(), options, key, positions or {})


# Kind of component -> the section that selects it, and that section's key for its name.
COMPONENT_KEYS: Mapping[Kind, tuple[str, str]] = {
    "dataset": ("dataset", "name"),
    "encoder": ("graph", "encoder"),
    "backbone": ("backbone", "name"),
}
# Kind -> the key that lists any number of its components.
COMPONENTS_KEYS: Mapping[Kind, Key] = {
    "baseline": ("evaluate", "baselines"),
    "logger": ("loggers",),
}


@dataclass(frozen=True)
class Selection:
    """A component a recipe names, and where: the keys of its name and of its own settings."""

    kind: Kind
    name: str
    options: Mapping[str, Any]
    name_key: Key
    options_key: Key


def selections(values: Mapping[str, Any]) -> Iterator[Selection]:
    """The components that plain values of a recipe select, defaults included; none where the schema is broken."""
    for kind, (section, name_field) in COMPONENT_KEYS.items():
        given = values.get(section)
        held = Recipe.model_fields[section].default.model_dump() | (given if isinstance(given, dict) else {})
        name, options = held[name_field], held["options"]
        if isinstance(name, str) and isinstance(options, dict):
            yield Selection(kind, name, options, (section, name_field), (section, "options"))
    for kind, key in COMPONENTS_KEYS.items():
        listed = components_at(values, key)
        for name, options in listed.items() if isinstance(listed, dict) else ():
            if isinstance(options, dict):
                yield Selection(kind, name, options, (*key, name), (*key, name))


def components_at(values: Mapping[str, Any], key: Key) -> Any:
    """The components listed under a key, by name; the default list where the values leave it out.

    What the schema refuses is returned as it is, or as None where the section above is broken.
    """
    held: Any = values
    default: Any = Recipe().model_dump()
    for part in key:
        default = default[part]
        held = held.get(part, default) if isinstance(held, Mapping) else None
    return listed_by_name(held)


def selection_errors(selection: Selection, positions: Mapping[Key, Position]) -> list[GltaError]:
    """What is wrong with the name and the own settings of a component; nothing where the schema says it."""
    try:
        own_settings(selection.kind, selection.name, selection.options, selection.options_key, positions)
    except InputErrors as several:
        return several.errors
    except GltaError as error:
        name = ".".join(map(str, selection.name_key))
        location = place(selection.name_key, positions) if error.location is None else error.location
        found = InputError(f"{name}: {error.problem}", location=location, hint=error.hint)
        found.__cause__ = error.__cause__
        return [found]
    return []
