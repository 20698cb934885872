"""The components a recipe selects, and their own settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from glta_cli.core.errors import GltaError, InputError, InputErrors
from glta_cli.plugin.settings import BackboneSettings
from glta_cli.recipe.limits import dotted
from glta_cli.recipe.positioned_yaml import Key, Position
from glta_cli.recipe.schema import Recipe, listed_by_name
from glta_cli.recipe.shipped_variants import VARIANTS
from glta_cli.recipe.validation import place, validated

if TYPE_CHECKING:
    from pydantic import BaseModel

    from glta_cli.plugin import Declaration, Kind


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


def head_takes_texts(recipe: Recipe) -> bool:
    """Whether the head knows items by their texts too, where they have any."""
    return recipe.finetune.head == "tied" and recipe.text.vectors


def tokens_take_texts(recipe: Recipe) -> bool:
    """Whether item tokens are projected from their texts too."""
    return recipe.finetune.item_tokens == "graph+text"


def model_takes_texts(recipe: Recipe) -> bool:
    """Whether anything of the model, its head or its item tokens, knows items by their text vectors."""
    return head_takes_texts(recipe) or tokens_take_texts(recipe)


def reads_text(recipe: Recipe) -> bool:
    """Whether the recipe's backbone knows words, as its declaration says."""
    from glta_cli.plugin import BackboneDeclaration
    from glta_cli.plugin.registry import installed

    declaration = installed().find("backbone", recipe.backbone.name).declaration
    assert isinstance(declaration, BackboneDeclaration)
    return declaration.reads_text


def require_reader(recipe: Recipe, needing: str, switch: str) -> None:
    """Raise `InputError` where the backbone that is to read item texts, the language model or another, reads none.

    Args:
        needing: what asks for the vectors of item texts.
        switch: how to do without.
    """
    reader = text_reader(recipe)
    if not reads_text(reader):
        raise InputError(
            f"{reader.backbone.name} reads no text, so there are no vectors of item texts, which {needing} needs",
            location="backbone.name" if recipe.text.backbone is None else ".".join(TEXT_BACKBONE),
            hint=f"{switch}, or name a backbone that reads: --set text.backbone=NAME",
        )


def encoder_needs_text_vectors(recipe: Recipe) -> bool:
    """Whether the encoder asks for the vectors of item texts; imports it, since its class says so."""
    from glta_cli.plugin.registry import installed

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
    from glta_cli.plugin.registry import installed

    return validated(installed().find(kind, name).config(), options, key, positions or {})


# Kind of component -> the section that selects it, and that section's key for its name.
COMPONENT_KEYS: Mapping[Kind, tuple[str, str]] = {
    "dataset": ("dataset", "name"),
    "encoder": ("graph", "encoder"),
    "backbone": ("backbone", "name"),
}
# Where a recipe selects the backbone that reads item texts, if not the language model itself, and its own settings.
TEXT_BACKBONE, TEXT_OPTIONS = ("text", "backbone"), ("text", "options")
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
    variants = _variant_names(values)
    text = values.get("text")
    if isinstance(text, dict) and isinstance(text.get("backbone"), str):
        options = text.get("options", {})
        if isinstance(options, dict):
            yield Selection("backbone", text["backbone"], options, TEXT_BACKBONE, TEXT_OPTIONS)
    for kind, key in COMPONENTS_KEYS.items():
        listed = components_at(values, key)
        for name, options in listed.items() if isinstance(listed, dict) else ():
            if isinstance(options, dict) and not (kind == "baseline" and name in variants):
                found = row_kind(name) if kind == "baseline" else kind
                yield Selection(found, name, options, (*key, name), (*key, name))


def row_kind(name: str) -> Kind:
    """What a row of an evaluation is called after: an encoder where there is one and no baseline of that name."""
    from glta_cli.plugin.registry import installed

    kinds = {component.kind for component in installed().components if component.name == name}
    return "encoder" if "encoder" in kinds and "baseline" not in kinds else "baseline"


def _variant_names(values: Mapping[str, Any]) -> set[str]:
    evaluate = values.get("evaluate")
    given = evaluate.get("variants") if isinstance(evaluate, Mapping) else None
    return {*VARIANTS, *(given if isinstance(given, Mapping) else ())}


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
        name = dotted(selection.name_key)
        location = place(selection.name_key, positions) if error.location is None else error.location
        found = InputError(f"{name}: {error.problem}", location=location, hint=error.hint)
        found.__cause__ = error.__cause__
        return [found]
    return _misplaced(selection, positions)


def _misplaced(selection: Selection, positions: Mapping[Key, Position]) -> list[GltaError]:
    """An error where what only reads texts is selected to rank items."""
    from glta_cli.plugin.registry import installed

    if selection.kind != "backbone" or selection.name_key == TEXT_BACKBONE:
        return []
    if generates(installed().find("backbone", selection.name).declaration):
        return []
    name = dotted(selection.name_key)
    return [
        InputError(
            f"{name}: {selection.name} reads texts into vectors but cannot rank",
            location=place(selection.name_key, positions),
            hint=f"use it as {'.'.join(TEXT_BACKBONE)}, beside a language model",
        )
    ]


def generates(declaration: Declaration) -> bool:
    """Whether a backbone is a language model; False for one that only reads texts into vectors."""
    return bool(getattr(declaration, "generates", True))


def text_reader(recipe: Recipe) -> Recipe:
    """The recipe with the backbone that reads item texts as its backbone: the language model itself, or another.

    The other one has all its layers, and either has the weights it was trained to unless `text.weights` is random.
    """
    text = recipe.text
    if text.backbone is not None:
        backbone = BackboneSettings(name=text.backbone, options=text.options, weights=text.weights)
    elif text.weights == "random":
        backbone = recipe.backbone.model_copy(update={"weights": "random"})
    else:
        return recipe
    return recipe.model_copy(update={"backbone": backbone})


def targets_share(recipe: Recipe) -> float:
    """The share of training items hidden from the encoder behind stage 3; 0 where there is no stage 3."""
    return recipe.graph.alignment_holdout if recipe.finetune.enabled else 0.0
