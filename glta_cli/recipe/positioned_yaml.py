"""YAML in which every key knows its line and column, without the traps of YAML 1.1.

`1e-4` is a number and `on` is a word, as YAML 1.2 has it; a duplicate key is an error, not a silent winner. Values are
those of JSON and no others: dates are words, sets and binary are refused in their place in the file. Of YAML 1.1 merge
keys (`<<`) are kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from glta_cli.core.errors import GltaError, InputError, InputErrors
from glta_cli.recipe.limits import (
    DEEPEST,
    LARGEST_FILE,
    LONGEST_NAME_SHOWN,
    MOST_VALUES,
    TOO_DEEP,
    TOO_LARGE,
    TOO_MANY,
    cut,
    dotted,
    in_file_order,
    integer_problem,
    scalar_problem,
)

Key = tuple[str | int, ...]

TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True)
class Position:
    """Where a key stands: file, and line and column counted from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


# Of YAML 1.1's ways to read a bare word: those replaced below, and those that no setting wants.
NOT_OF_JSON = (":bool", ":float", ":int", ":timestamp", ":value")


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2's numbers and booleans: `1e-4` is a number, `on` is a word."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._composed = 0
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """A node, unless there are too many before it or around it: PyYAML itself recurses without end."""
        self._composed += 1
        self._depth += 1
        # The document itself is a node, and stands in none.
        problem = TOO_MANY if self._composed > MOST_VALUES else TOO_DEEP if self._depth - 1 > DEEPEST else None
        if problem is not None:
            raise _BeyondLimits(problem=problem, problem_mark=self.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _BeyondLimits(yaml.MarkedYAMLError):
    """YAML as such, but more of it than a recipe may hold."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(NOT_OF_JSON)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(f"{TAG}bool", re.compile(r"^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver(f"{TAG}int", re.compile(r"^[-+]?[0-9]+$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    f"{TAG}float",
    re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$"),
    list("-+.0123456789"),
)

# JSON's types and no others; YAML's word for each, and how its text becomes a value.
SCALARS: Mapping[str, Callable[[str], Any]] = {
    "null": lambda text: None,
    "bool": lambda text: {"true": True, "false": False}[text],
    "int": int,
    "float": float,
    "str": str,
}
REFUSALS = {"bool": "is neither true nor false", "int": "is no whole number", "float": "is no number"}
MOST_DIGITS = 4000  # Python reads a few more


def read_yaml(text: str, file: str) -> tuple[dict[str, Any], dict[Key, Position]]:
    """Parse one YAML mapping and the position of each of its keys; keys are texts, as in JSON.

    Raises:
        InputErrors: no mapping, a duplicate key, a value beyond the limits of a recipe, or text that is no YAML, each
            with its position.
    """
    if len(text) > LARGEST_FILE:
        problem = f"has {len(text):,} characters, and {TOO_LARGE}"
        raise InputErrors([InputError(problem, location=file)])
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        place = _place_in(text, error.position, file)
        problem = f"not valid YAML: character U+{error.character:04X} is not allowed"
        raise InputErrors([InputError(problem, location=place)]) from error
    try:
        node = loader.get_single_node()
        if node is None:
            return {}, {}
        if not isinstance(node, yaml.MappingNode):
            place = str(_position(node, file))
            raise InputErrors([InputError("a recipe is a mapping of keys to values", location=place)])
        reading = _Reading(file)
        values = reading.value(node, ())
        if reading.errors:
            raise InputErrors(in_file_order(reading.errors))
        return values, reading.positions
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = str(Position(file, mark.line + 1, mark.column + 1)) if mark else file
        # Of two anchors PyYAML says what is wrong where it says where the first one is.
        said = "the anchor stands twice" if error.problem == "second occurrence" else error.problem
        problem = f"not valid YAML: {said}"
        if isinstance(error, _BeyondLimits):
            problem = str(error.problem)
        raise InputErrors([InputError(cut(problem, LONGEST_NAME_SHOWN), location=place)]) from error
    except (ValueError, OverflowError) as error:
        # An escape such as "\UFFFFFFFF", or a version of thousands of digits.
        mark = loader.get_mark()
        place = str(Position(file, mark.line + 1, mark.column + 1))
        raise InputErrors([InputError("not valid YAML: no such character or number", location=place)]) from error
    finally:
        loader.dispose()


class _Reading:
    """Nodes into plain values, with the position of every key.

    What is wrong with single values is collected in `errors`; a document too large or too deep is raised at once.
    Aliases and merge keys share nodes, so that a few lines may stand for billions of values: they count each time.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.positions: dict[Key, Position] = {}
        self.errors: list[GltaError] = []
        self._count = 0

    def value(self, node: yaml.Node, path: Key) -> Any:
        """The value of a node that stands under `path`."""
        self._visit(node, len(path))
        kind = node.tag.removeprefix(TAG)
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            return self._list(node, path)
        if isinstance(node, yaml.ScalarNode) and kind in SCALARS:
            return self._scalar(kind, node.value, path)
        problem = f"not valid YAML: could not determine a constructor for the tag '{cut(node.tag, LONGEST_NAME_SHOWN)}'"
        raise InputErrors([InputError(problem, location=str(_position(node, self.file)))])

    def _visit(self, node: yaml.Node, depth: int) -> None:
        self._count += 1
        problem = TOO_MANY if self._count > MOST_VALUES else TOO_DEEP if depth > DEEPEST else None
        if problem is not None:
            raise InputErrors([InputError(problem, location=str(_position(node, self.file)))])

    def _mapping(self, node: yaml.MappingNode, path: Key) -> dict[str, Any]:
        pairs = {key.value: (key, value) for key, value in self._pairs(node, path, len(path))}
        values = {}
        for name, (key, value) in pairs.items():
            self.positions[(*path, name)] = _position(key, self.file)
            values[name] = self.value(value, (*path, name))
        return values

    def _pairs(self, node: yaml.MappingNode, path: Key, depth: int) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
        """Keys and values of a mapping: those that merge keys bring, and then its own, which take precedence."""
        own: dict[str, tuple[yaml.ScalarNode, yaml.Node]] = {}
        brought: list[tuple[yaml.ScalarNode, yaml.Node]] = []
        for key, value in node.value:
            self._visit(key, depth)
            if key.tag == f"{TAG}merge":
                sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
                # Of several the first takes precedence.
                for source in reversed(sources):
                    if not isinstance(source, yaml.MappingNode):
                        self._wrong(key, path, "what a merge key `<<` brings is a mapping, or a list of mappings")
                        continue
                    brought += self._pairs(source, path, depth + 1)
            elif not isinstance(key, yaml.ScalarNode) or key.tag.removeprefix(TAG) not in SCALARS:
                self._wrong(key, path, "a key is a word or a number")
            elif key.value in own:
                line = own[key.value][0].start_mark.line + 1
                self._wrong(key, (*path, key.value), "the key stands twice", f"the first is on line {line}")
            else:
                own[key.value] = key, value
        return [*brought, *own.values()]

    def _list(self, node: yaml.SequenceNode, path: Key) -> list[Any]:
        values = []
        for index, each in enumerate(node.value):
            self.positions[(*path, index)] = _position(each, self.file)
            values.append(self.value(each, (*path, index)))
        return values

    def _scalar(self, kind: str, text: str, path: Key) -> Any:
        problem = None
        value: Any = None
        try:
            value = SCALARS[kind](text)
        except (ValueError, KeyError):
            # Only where a tag says what the text is, as in `!!int three`; or where Python reads no more digits.
            digits = sum(map(str.isdigit, text))
            problem = integer_problem(digits) if digits > MOST_DIGITS else f"'{cut(text)}' {REFUSALS[kind]}"
        problem = problem or scalar_problem(value)
        if problem is not None:
            hint = "in quotes it is text" if kind == "int" else None
            name = f"{dotted(path)}: " if path else ""
            self.errors.append(InputError(f"{name}{problem}", location=str(self.positions[path]), hint=hint))
        return value

    def _wrong(self, node: yaml.Node, path: Key, problem: str, hint: str | None = None) -> None:
        name = f"{dotted(path)}: " if path else ""
        self.errors.append(InputError(f"{name}{problem}", location=str(_position(node, self.file)), hint=hint))


def _position(node: yaml.Node, file: str) -> Position:
    return Position(file, node.start_mark.line + 1, node.start_mark.column + 1)


def _place_in(text: str, offset: int, file: str) -> str:
    before = text[:offset]
    return str(Position(file, before.count("\n") + 1, offset - before.rfind("\n")))
