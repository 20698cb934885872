"""All about one component: where it comes from, how a recipe selects it, and what it can be set to.

Settings are read from the JSON schema of their model: it says what a recipe may write, in whatever way the model
was declared.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from glta_cli.core.errors import GltaError
from glta_cli.core.terminal import padded, show_table, show_text
from glta_cli.plugin import BaselineDeclaration, TunableDeclaration

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.table import Table

    from glta_cli.plugin import Declaration
    from glta_cli.plugin.component import Component

Schema = Mapping[str, Any]
Setting = dict[str, Any]

LABEL_WIDTH = 14

FORMATS = {"date": "date", "date-time": "date and time", "path": "path", "file-path": "path", "directory-path": "path"}
TYPES = {"integer": "integer", "number": "number", "boolean": "true or false", "null": "null"}
BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


def described(component: Component) -> dict[str, Any]:
    """What `glta plugins show` tells, as the values of its JSON.

    Raises:
        GltaError: the model of its settings cannot be imported, or cannot be read.
    """
    from glta_cli.plugin.component import reason_of

    declaration, origin = component.declaration, component.origin
    switched_off = _switched_off(declaration)
    model = component.config()
    try:
        settings = list(settings_of(model))
        example = example_of(model, settings)
    except Exception as cause:
        raise GltaError(
            f"the settings of {component.kind} '{component.name}' of {origin} cannot be read: {reason_of(cause)}",
            hint="tell its author",
        ) from cause
    return {
        "kind": component.kind,
        "name": component.name,
        "summary": declaration.summary,
        "distribution": origin.distribution,
        "version": origin.version,
        "entry_point": origin.entry_point,
        "target": declaration.target,
        "config": declaration.config,
        "extra": declaration.extra,
        "grid": dict(declaration.grid) if isinstance(declaration, TunableDeclaration) else {},
        **({"time_grid": dict(declaration.time_grid)} if isinstance(declaration, BaselineDeclaration) else {}),
        "recipe": "\n".join([recipe_line(declaration, example), *_off_lines(switched_off)]),
        "set": " ".join([set_options(declaration, example), *(f"--set {key}=false" for key in switched_off)]),
        "settings": settings,
    }


# ------------------------------------------------------------------------------------- how a recipe selects it


def recipe_line(declaration: Declaration, options: Mapping[str, Any]) -> str:
    """A line of YAML that selects the component and changes the settings `options`, by dotted name."""
    from glta_cli.recipe.selection import COMPONENTS_KEYS

    name, nested = declaration.name, _nested(options)
    if declaration.kind not in COMPONENTS_KEYS:
        section, name_field = _selecting_key(declaration)
        return f"{section}: {as_yaml({name_field: name} | ({'options': nested} if nested else {}))}"
    section, *rest = map(str, COMPONENTS_KEYS[declaration.kind])
    listed: Any = {name: nested} if nested else [name]
    for key in reversed(rest):
        listed = {key: listed}
    return f"{section}: {as_yaml(listed)}"


def _switched_off(declaration: Declaration) -> list[str]:
    """What a recipe has to leave out beside this component, and by default does not."""
    from glta_cli.plugin import BackboneDeclaration
    from glta_cli.recipe.checks import words_used
    from glta_cli.recipe.schema import Recipe

    wordless = isinstance(declaration, BackboneDeclaration) and not declaration.reads_text
    return words_used(Recipe()) if wordless else []


def _off_lines(keys: Sequence[str]) -> list[str]:
    sections = _nested(dict.fromkeys(keys, False))
    return [f"{section}: {as_yaml(switches)}" for section, switches in sections.items()]


def set_options(declaration: Declaration, options: Mapping[str, Any]) -> str:
    """The same as options of a command, quoted for a shell."""
    from glta_cli.recipe.selection import COMPONENTS_KEYS

    name = declaration.name
    if declaration.kind not in COMPONENTS_KEYS:
        section, name_field = _selecting_key(declaration)
        changes = [f"{section}.{name_field}={name}"]
        changes += [f"{section}.options.{key}={as_yaml(value)}" for key, value in options.items()]
    else:
        # As one mapping: a dot in the name would end a key.
        nested = _nested(options)
        listed: Any = {name: nested} if nested else [name]
        changes = [f"{'.'.join(map(str, COMPONENTS_KEYS[declaration.kind]))}={as_yaml(listed)}"]
    return shlex.join(word for change in changes for word in ("--set", change))


def _selecting_key(declaration: Declaration) -> tuple[str, str]:
    """The section that selects the component, and that section's key for its name."""
    from glta_cli.recipe.selection import COMPONENT_KEYS, TEXT_BACKBONE, generates

    return COMPONENT_KEYS[declaration.kind] if generates(declaration) else TEXT_BACKBONE


def example_of(model: type[BaseModel], settings: Sequence[Setting]) -> dict[str, Any]:
    """Settings to show a selection with: those it cannot do without, or else the first that is a single value."""
    names = {row["name"] for row in settings}
    # What stands in a section with a row of its own is required only where the section is there.
    required = {
        row["name"]: to_be_filled_in(row["name"])
        for row in settings
        if row["required"] and names.isdisjoint(accumulate(row["name"].split(".")[:-1], "{}.{}".format))
    }
    if required:
        return required
    if not _does_with_defaults(model):
        # No setting is required, yet one of several is: most likely the first.
        return {settings[0]["name"]: to_be_filled_in(settings[0]["name"])}
    return next(
        ({row["name"]: row["default"]} for row in settings if isinstance(row["default"], (str, int, float))), {}
    )


def to_be_filled_in(name: str) -> str:
    """What stands in an example for a value nobody else can know: the setting's name in capitals."""
    return name.rpartition(".")[2].upper()


def _does_with_defaults(model: type[BaseModel]) -> bool:
    from pydantic import ValidationError

    try:
        model()
    except ValidationError:
        return False
    return True


def _nested(options: Mapping[str, Any]) -> dict[str, Any]:
    """`{"a.b": 1}` as `{"a": {"b": 1}}`."""
    nested: dict[str, Any] = {}
    for name, value in options.items():
        *sections, last = name.split(".")
        target = nested
        for section in sections:
            target = target.setdefault(section, {})
        target[last] = value
    return nested


def as_yaml(value: Any) -> str:
    """A value as a recipe writes it, on one line."""
    import yaml

    # Inside a list: a bare scalar would be followed by the mark that ends a document.
    text = yaml.safe_dump([value], default_flow_style=True, width=float("inf"), sort_keys=False, allow_unicode=True)
    return text.strip()[1:-1]


# ------------------------------------------------------------------------------------------------- its settings


def settings_of(model: type[BaseModel]) -> Iterator[Setting]:
    """Name, type, default, whether it is required, and description of every setting; nested ones by dotted name."""
    from pydantic.json_schema import GenerateJsonSchema, NoDefault

    class WhatARecipeMayWrite(GenerateJsonSchema):
        """Tells the defaults of factories too, and takes a type that JSON does not know for anything."""

        def get_default_value(self, schema: Any) -> Any:
            factory = schema.get("default_factory")
            if factory is not None and not schema.get("default_factory_takes_data"):
                return factory()
            return schema.get("default", NoDefault)

        def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:
            return {}

    schema = model.model_json_schema(schema_generator=WhatARecipeMayWrite)
    return _rows(schema, schema.get("$defs", {}), prefix="", defaults={}, above=())


def _rows(
    schema: Schema, models: Mapping[str, Schema], *, prefix: str, defaults: Mapping[str, Any], above: tuple[Schema, ...]
) -> Iterator[Setting]:
    """The settings of one model.

    Args:
        models: those it refers to, by name.
        defaults: what the section as a whole is by default; they win over the model's own.
        above: the models it stands in: one that holds itself is not unfolded for ever.
    """
    model = _resolved(schema, models)
    for key, field in model.get("properties", {}).items():
        has_default = key in defaults or "default" in field
        default = defaults[key] if key in defaults else field.get("default")
        alternatives = [_resolved(part, models) for part in _alternatives(field)]
        sections = [part for part in alternatives if "properties" in part]
        unfolds = len(sections) == 1 and sections[0] not in (*above, model)
        if not unfolds or len(alternatives) > 1:
            yield {
                "name": f"{prefix}{key}",
                "type": type_in_words(field, models),
                "default": default,
                "required": not has_default and key in model.get("required", ()),
                "description": " ".join(field.get("description", "").split()),
            }
        if unfolds:
            inner = default if isinstance(default, dict) else {}
            yield from _rows(sections[0], models, prefix=f"{prefix}{key}.", defaults=inner, above=(*above, model))


def _alternatives(field: Schema) -> list[Schema]:
    found: list[Schema] = field.get("anyOf") or field.get("oneOf") or field.get("allOf") or [field]
    return found


def _resolved(schema: Schema, models: Mapping[str, Schema]) -> Schema:
    while "$ref" in schema:
        schema = models[schema["$ref"].rpartition("/")[2]]
    return schema


def type_in_words(schema: Schema, models: Mapping[str, Schema]) -> str:
    """What a setting takes, as a recipe's author would say it: `integer >= 1 or null`."""
    alternatives = [_resolved(part, models) for part in _alternatives(schema)]
    if len(alternatives) > 1:
        alternatives.sort(key=lambda part: part.get("type") == "null")
        return " or ".join(dict.fromkeys(type_in_words(part, models) for part in alternatives))
    [schema] = alternatives
    if "const" in schema:
        return as_yaml(schema["const"])
    if "enum" in schema:
        return f"one of {', '.join(map(as_yaml, schema['enum']))}"
    match schema.get("type"):
        case "string":
            return _text_in_words(schema)
        case "array":
            return _list_in_words(schema, models)
        case "object":
            return _mapping_in_words(schema, models)
        case str(plain):
            limits = [f"{sign} {as_yaml(schema[bound])}" for bound, sign in BOUNDS.items() if bound in schema]
            if "multipleOf" in schema:
                limits.append(f"a multiple of {as_yaml(schema['multipleOf'])}")
            return f"{TYPES[plain]} {' and '.join(limits)}".rstrip()
        case _:
            return "anything"


def _text_in_words(schema: Schema) -> str:
    text = FORMATS.get(schema.get("format", ""), "text")
    return f"{text} like {schema['pattern']}" if "pattern" in schema else text


def _list_in_words(schema: Schema, models: Mapping[str, Schema]) -> str:
    if "prefixItems" in schema:
        return f"list of {', '.join(type_in_words(part, models) for part in schema['prefixItems'])}"
    each = type_in_words(schema["items"], models) if schema.get("items") else "anything"
    least, most = schema.get("minItems"), schema.get("maxItems")
    counts = [f"{word} {count}" for word, count in (("at least", least), ("at most", most)) if count]
    return ", ".join([f"list of {each}", *counts])


def _mapping_in_words(schema: Schema, models: Mapping[str, Schema]) -> str:
    if "properties" in schema:
        return "section"
    values = schema.get("additionalProperties")
    return f"mapping of names to {type_in_words(values, models)}" if isinstance(values, dict) and values else "mapping"


# ------------------------------------------------------------------------------------------------- on a terminal


def show_component(found: Mapping[str, Any]) -> None:
    """Print what `described` returned."""
    from rich.markup import escape

    show_table(escape(f"{found['kind']} {found['name']}: {found['summary']}"))
    facts = {
        "from": f"{found['distribution']} {found['version']}, entry point {found['entry_point']}",
        "code": found["target"],
        # Lines below the first stand under it.
        "in a recipe": found["recipe"].replace("\n", "\n" + " " * (2 + LABEL_WIDTH)),
        "in a command": found["set"],
    }
    if found["extra"]:
        facts["needs"] = f"pip install {shlex.quote(found['extra'])}"
    if found["grid"]:
        facts["--tune tries"] = as_yaml(found["grid"])
    if found.get("time_grid"):
        facts["split in time"] = f"{as_yaml(found['time_grid'])} too"
    lines = ["", *(f"  {padded(label, LABEL_WIDTH)}{fact}" for label, fact in facts.items())]
    if not found["settings"]:
        lines += ["", "It has no settings."]
    # Unfolded: what is to be copied must not be broken into lines.
    show_text("\n".join(lines))
    if found["settings"]:
        show_table(settings_table(found["settings"]))


def settings_table(settings: Sequence[Setting]) -> Table:
    """Name, type, default and description of every setting."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("setting", style="cyan", overflow="fold")
    table.add_column("type", overflow="fold")
    table.add_column("default", overflow="fold")
    table.add_column("description", style="dim", overflow="fold")
    for row in settings:
        default = "required" if row["required"] else as_yaml(row["default"])
        table.add_row(*map(escape, (row["name"], row["type"], default, row["description"])))
    return table
