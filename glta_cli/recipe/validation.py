"""Values into settings: sections given in part keep their own defaults, and every error names its place."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from glta_cli.core.counts import counted
from glta_cli.core.errors import InputError, InputErrors, did_you_mean
from glta_cli.recipe.limits import MOST_ERRORS_TOLD, cut, dotted, in_file_order
from glta_cli.recipe.positioned_yaml import Key, Position

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

M = TypeVar("M", bound=BaseModel)


def validated(model: type[M], values: Mapping[str, Any], prefix: Key, positions: Mapping[Key, Position]) -> M:
    """Values as `model`.

    Args:
        prefix: where in the file the values stand, such as ("graph", "options").
        positions: of the file's keys; one that is absent takes the place of the section it belongs to.

    Raises:
        InputErrors: everything wrong with them, in the file's order.
    """
    sections = {spelling(name, field): field.default for name, field in model.model_fields.items()}
    text = json.dumps(_completed(sections, values))
    try:
        # YAML has lists only: strict mode would refuse them for tuples, JSON mode does not.
        return model.model_validate_json(text)
    except ValidationError as error:
        given = json.loads(text)
        by_key = _by_key(error.errors(), given)
        errors = [_explain(model, key, found, prefix, positions) for key, found in by_key[:MOST_ERRORS_TOLD]]
        # Of thousands few are told, and the rest is not worth the search for a hint.
        for key, found in by_key[MOST_ERRORS_TOLD:]:
            problem = f"{dotted((*prefix, *key))}: {found[0]['msg']}"
            errors.append(InputError(problem, location=place((*prefix, *key), positions)))
        raise InputErrors(in_file_order(errors)) from error


def place(path: Key, positions: Mapping[Key, Position]) -> str | None:
    """The position of the key, or of the nearest one above it that the file holds.

    A section that is in no file is there by what was set within it.
    """
    for length in range(len(path), 0, -1):
        found = positions.get(path[:length])
        if found:
            return found.file if found.file.startswith("--set") else str(found)
    return next((found.file for key, found in positions.items() if path and key[: len(path)] == path), None)


def spelling(name: str, field: FieldInfo) -> str:
    """What a recipe writes for a field of a model: its alias, where it has one."""
    return field.validation_alias if isinstance(field.validation_alias, str) else name


def _completed(defaults: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, each section among the defaults filled with what it holds where it is left out.

    A section given in part has to keep the rest of its own defaults, such as the learning rate of stage 1, where
    pydantic alone would fall back on those of the section's class. A mapping that is no section is taken as given.
    """
    completed = dict(values)
    for name, default in defaults.items():
        given = values.get(name, {})
        if isinstance(default, BaseModel) and isinstance(given, dict):
            nested = {spelling(key, field): getattr(default, key) for key, field in type(default).model_fields.items()}
            completed[name] = _dumped(default) | _completed(nested, given)
    return completed


def _dumped(section: BaseModel) -> dict[str, Any]:
    """A section as a recipe would write it."""
    dumped = section.model_dump(mode="json", by_alias=True)
    fields = type(section).model_fields.items()
    names = {field.serialization_alias or key: spelling(key, field) for key, field in fields}
    return {names[name]: value for name, value in dumped.items() if name in names}


# ------------------------------------------------------------------------------------------------- errors


def _by_key(details: Sequence[ErrorDetails], given: Any) -> list[tuple[Key, list[ErrorDetails]]]:
    """Errors by the key they belong to; a union reports one a branch, one after the other.

    Of a value that is wrong inside, what is wrong there is told alone: that it is none of a union's words, or shorter
    once that is left out, says nothing more.
    """
    by_key = [(key, list(found)) for key, found in groupby(details, lambda detail: _key(detail, given))]
    above = {key[:length] for key, _ in by_key for length in range(len(key))}
    return [(key, found) for key, found in by_key if key not in above]


def _explain(
    model: type[BaseModel],
    key: Key,
    details: Sequence[ErrorDetails],
    prefix: Key,
    positions: Mapping[Key, Position],
) -> InputError:
    name = dotted((*prefix, *key))
    given = details[0]["input"]
    hint = None
    match [detail["type"] for detail in details]:
        case ["extra_forbidden"]:
            problem = "unknown key"
            hint = did_you_mean(str(key[-1]), [name for each in _annotations(model, key[:-1]) for name in _names(each)])
        case ["missing"]:
            problem = "the key is missing"
        case ["literal_error"] if allowed := [str(word) for each in _annotations(model, key) for word in _words(each)]:
            problem = f"{_shown(given)} is not one of {', '.join(allowed)}"
            hint = did_you_mean(str(given), allowed)
        case ["value_error" | "assertion_error"]:
            problem = _reason(details[0])
        case ["model_type"]:
            problem = f"has to hold keys of its own, not {_shown(given)}"
        case ["string_type"] if isinstance(key[-1], int):
            problem = _wish([details[0]["msg"]], given)
            hint = f"a list of names, such as {dotted((*prefix, *key[:-1]))}=[{_name_within(given)}]"
        case ["components_type"]:
            problem = f"has to be a list of names, or names with settings, not {_shown(given)}"
            hint = f"such as {name}=[{given if isinstance(given, str) else 'NAME'}]"
        case [*_, "too_short"] if not given:
            # Where a word would do in place of the list, pydantic speaks of that first.
            problem = f"has to hold at least {counted(details[-1]['ctx']['min_length'], 'item')}, not 0"
        case _:
            problem = _wish([detail["msg"] for detail in details], given)
    problem = f"{name}: {problem}" if name else problem
    return InputError(problem, location=place((*prefix, *key), positions), hint=hint)


def _reason(detail: ErrorDetails) -> str:
    """What a validator raised, on one line; an `assert` need not say anything."""
    raised = detail.get("ctx", {}).get("error", detail["msg"])
    return " ".join(str(raised).split()) or f"{_shown(detail['input'])} is refused"


def _wish(messages: Sequence[str], given: Any) -> str:
    """pydantic's messages of one key, each for a type it may have, in the words of a recipe."""
    start = "Input should be "
    if not all(message.startswith(start) for message in messages):
        # Such as "List should have at least 1 item after validation, not 0".
        return "; ".join(messages)
    words = {
        "a valid array": "a list",
        "a valid tuple": "a list",
        "a valid boolean": "true or false",
        "an object": "a mapping",
    }
    wishes = [message.removeprefix(start) for message in messages]
    return f"has to be {' or '.join(words.get(wish, wish) for wish in wishes)}, not {_shown(given)}"


def _name_within(given: Any) -> str:
    """The name somebody wrote in one list, or with settings, too many; NAME where there is none."""
    inside = list(given) if isinstance(given, (list, dict)) else []
    return cut(inside[0]) if len(inside) == 1 and isinstance(inside[0], str) else "NAME"


def _shown(value: Any) -> str:
    """A value as a recipe spells it, cut where it is long."""
    text = f"'{value}'" if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return cut(text)


def _key(detail: ErrorDetails, values: Any) -> Key:
    """The key an error belongs to.

    pydantic adds the branch of a union, such as `int` or the name of a model, to the location of the key. The values
    tell one from the other: a branch leads nowhere in them.
    """
    key: list[str | int] = []
    *above, last = detail["loc"] or (None,)
    for part in above:
        if _holds(values, part):
            key.append(part)
            values = values[part]
    if _holds(values, last):
        # A mapping may have a key called `int`; what was refused is then what stands under it.
        named = not (detail["input"] == values != values[last])
    else:
        # A default that is refused has a key that nobody wrote.
        unwritten = isinstance(values, dict) and last != "[key]" and detail["input"] != values
        named = detail["type"] == "missing" or unwritten
    return (*key, last) if named and last is not None else tuple(key)


def _holds(values: Any, part: str | int | None) -> bool:
    if isinstance(values, list):
        return isinstance(part, int) and part < len(values)
    return isinstance(values, dict) and part in values


# ------------------------------------------------------------------------------------- what a model has at a key


def _annotations(model: type[BaseModel], key: Key) -> list[Any]:
    """What may stand under a key; nothing where the model does not tell."""
    found: list[Any] = [model]
    for part in key:
        found = [inner for annotation in found for inner in _inside(annotation, part)]
    return found


def _inside(annotation: Any, part: str | int) -> Iterator[Any]:
    """What may stand under one key, or position, of a value."""
    for alternative in _alternatives(annotation):
        if _is_model(alternative):
            fields = alternative.model_fields.items()
            yield from (field.annotation for name, field in fields if part == spelling(name, field))
        elif get_origin(alternative) is not Literal:
            # Of a list or a mapping: its parameters.
            yield from get_args(alternative)


def _names(annotation: Any) -> list[str]:
    """The keys of a section; none of what is no section."""
    models = [each for each in _alternatives(annotation) if _is_model(each)]
    return [spelling(name, field) for model in models for name, field in model.model_fields.items()]


def _words(annotation: Any) -> list[Any]:
    """The words a value may be; none where it is not a choice of words."""
    return [word for each in _alternatives(annotation) if get_origin(each) is Literal for word in get_args(each)]


def _alternatives(annotation: Any) -> Iterator[Any]:
    """The types of a union, or the one type that is none."""
    if get_origin(annotation) is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for each in get_args(annotation):
            yield from _alternatives(each)
    else:
        yield annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
