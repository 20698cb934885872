"""YAML in which every key knows its line and column, without the traps of YAML 1.1.

`1e-4` is a number and `on` is a word, as YAML 1.2 has it; a duplicate key is an error, not a silent winner.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from glta_cli.core.errors import GltaError, InputError, InputErrors

Key = tuple[str | int, ...]

DEEPEST = 50


@dataclass(frozen=True)
class Position:
    """Where a key stands: file, and line and column counted from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2's numbers and booleans: `1e-4` is a number, `on` is a word."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":float", ":int", ":timestamp"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)


def _construct_float(loader: yaml.SafeLoader, node: yaml.Node) -> float:
    assert isinstance(node, yaml.ScalarNode)
    return float(node.value)


def _construct_int(loader: yaml.SafeLoader, node: yaml.Node) -> int:
    assert isinstance(node, yaml.ScalarNode)
    return int(node.value)


# JSON's types and no others: dates, sets and binary are refused, in their place in the file.
_Loader.yaml_constructors = {
    tag: construct
    for tag, construct in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.endswith((":null", ":bool", ":str", ":seq", ":map"))
}
_Loader.add_constructor("tag:yaml.org,2002:float", _construct_float)
_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)


def read_yaml(text: str, file: str) -> tuple[dict[str, Any], dict[Key, Position]]:
    """Parse one YAML mapping and the position of each of its keys.

    Raises:
        InputErrors: no mapping, a duplicate key, or text that is no YAML, each with its position.
    """
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        problem = f"not valid YAML: character U+{error.character:04X} is not allowed"
        raise InputErrors([InputError(problem, location=f"{file}:{line}")]) from error
    try:
        node = loader.get_single_node()
        if node is None:
            return {}, {}
        if not isinstance(node, yaml.MappingNode):
            raise InputErrors([InputError("a recipe is a mapping of keys to values", location=f"{file}:1:1")])
        positions: dict[Key, Position] = {}
        errors: list[GltaError] = []
        _collect_positions(node, (), file, positions, errors)
        if errors:
            raise InputErrors(errors)
        return loader.construct_document(node), positions
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = str(Position(file, mark.line + 1, mark.column + 1)) if mark else file
        raise InputErrors([InputError(f"not valid YAML: {error.problem}", location=place)]) from error
    finally:
        loader.dispose()


def _collect_positions(
    node: yaml.Node, path: Key, file: str, positions: dict[Key, Position], errors: list[GltaError]
) -> None:
    children: list[tuple[str | int, yaml.Node, yaml.Node]] = []
    if isinstance(node, yaml.MappingNode):
        children = [(str(key.value), key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        children = [(index, value, value) for index, value in enumerate(node.value)]
    if len(path) > DEEPEST:
        # An alias that holds itself would never end.
        raise InputErrors([InputError("keys are nested too deep", location=f"{file}:{node.start_mark.line + 1}")])
    for name, mark_node, child in children:
        key = (*path, name)
        position = Position(file, mark_node.start_mark.line + 1, mark_node.start_mark.column + 1)
        if key in positions:
            errors.append(
                InputError(
                    f"{'.'.join(map(str, key))}: the key stands twice",
                    location=str(position),
                    hint=f"the first is on line {positions[key].line}",
                )
            )
        positions[key] = position
        _collect_positions(child, key, file, positions, errors)
