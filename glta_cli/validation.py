"""Values into settings: sections given in part keep their own defaults, and every error names its place."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from glta_cli.errors import GltaError, InputError, InputErrors, did_you_mean
from glta_cli.positioned_yaml import Key, Position

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

M = TypeVar("M", bound=BaseModel)

LONGEST_VALUE_SHOWN = 60


def validated(model: type[M], values: Mapping[str, Any], prefix: Key, positions: Mapping[Key, Position]) -> M:
    """Values as `model`.

    Args:
        prefix: where in the file the values stand, such as ("graph", "options").
        positions: of the file's keys; one that is absent takes the place of the section it belongs to.

    Raises:
        InputErrors: everything wrong with them, in the file's order.
    """
    sections = {name: field.default for name, field in model.model_fields.items() if _is_section(field.default)}
    completed = _completed(sections, values)
    try:
        # YAML has lists only: strict mode would refuse them for tuples, JSON mode does not.
        return model.model_validate_json(json.dumps(completed))
    except ValidationError as error:
        # A union reports one error a branch, one after the other.
        by_key = groupby(error.errors(), key=lambda detail: _key(detail["loc"]))
        errors = [_explain(model, key, list(details), prefix, positions) for key, details in by_key]
        raise InputErrors(in_file_order(errors)) from error


def in_file_order(errors: Sequence[GltaError]) -> list[GltaError]:
    """Errors by line and column, those without a place last."""

    def line_and_column(error: GltaError) -> tuple[float, float]:
        found = re.search(r":(\d+):(\d+)$", error.location or "")
        return (int(found[1]), int(found[2])) if found else (float("inf"), 0)

    return sorted(errors, key=line_and_column)


def place(path: Key, positions: Mapping[Key, Position]) -> str | None:
    """The position of the key, or of the nearest one above it that the file holds."""
    for length in range(len(path), 0, -1):
        found = positions.get(path[:length])
        if found:
            return found.file if found.file.startswith("--set") else str(found)
    return None


def _completed(sections: Mapping[str, BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, each section filled with what it holds where it is left out.

    A section given in part has to keep the rest of its own defaults, such as the learning rate of stage 1, where
    pydantic alone would fall back on those of the section's class. A mapping that is no section is taken as given.
    """
    completed = dict(values)
    for name, default in sections.items():
        given = values.get(name, {})
        if isinstance(given, dict):
            nested = {key: value for key, value in default if _is_section(value)}
            completed[name] = default.model_dump(mode="json") | _completed(nested, given)
    return completed


def _is_section(default: Any) -> bool:
    return isinstance(default, BaseModel)


# ------------------------------------------------------------------------------------------------- errors


def _explain(
    model: type[BaseModel],
    key: Key,
    details: Sequence[ErrorDetails],
    prefix: Key,
    positions: Mapping[Key, Position],
) -> InputError:
    name = ".".join(map(str, (*prefix, *key)))
    given = details[0]["input"]
    hint = None
    match [detail["type"] for detail in details]:
        case ["extra_forbidden"]:
            problem = "unknown key"
            hint = did_you_mean(str(key[-1]), list(_fields_at(model, key[:-1])))
        case ["missing"]:
            problem = "the key is missing"
        case ["literal_error"]:
            allowed = _literals_at(model, key)
            problem = f"{_shown(given)} is not one of {', '.join(allowed)}"
            hint = did_you_mean(str(given), allowed)
        case ["value_error"]:
            problem = str(details[0]["ctx"]["error"])
        case ["model_type"]:
            problem = f"has to hold keys of its own, not {_shown(given)}"
        case _:
            wanted = " or ".join(_plain(detail["msg"]) for detail in details)
            problem = f"has to be {wanted}, not {_shown(given)}"
    problem = f"{name}: {problem}" if name else problem
    return InputError(problem, location=place((*prefix, *key), positions), hint=hint)


def _plain(message: str) -> str:
    """pydantic's wish in the words of a recipe."""
    words = {"a valid array": "a list", "a valid tuple": "a list", "a valid boolean": "true or false"}
    wish = message.removeprefix("Input should be ")
    return words.get(wish, wish)


def _shown(value: Any) -> str:
    """A value as a recipe spells it, cut where it is long."""
    text = f"'{value}'" if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE_SHOWN else f"{text[:LONGEST_VALUE_SHOWN]}..."


def _key(location: tuple[str | int, ...]) -> Key:
    """pydantic adds the branch of a union, such as `literal['a','b']`, to the location of the key."""
    branches = {"none", "str", "int", "float", "bool"}
    return tuple(part for part in location if isinstance(part, int) or ("[" not in part and part not in branches))


def _fields_at(model: type[BaseModel], key: Key) -> Mapping[str, Any]:
    for part in key:
        if isinstance(part, int):
            continue
        field = model.model_fields[part]
        nested = [a for a in (field.annotation, *get_args(field.annotation)) if _is_model(a)]
        if not nested:
            return {}
        model = nested[0]
    return model.model_fields


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _literals_at(model: type[BaseModel], key: Key) -> list[str]:
    named = [part for part in key if not isinstance(part, int)]
    return [str(value) for value in _literals(_fields_at(model, tuple(named[:-1]))[named[-1]].annotation)]


def _literals(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [value for part in get_args(annotation) for value in _literals(part)]
