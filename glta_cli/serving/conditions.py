"""Conditions on columns of the items, as `--where` takes them: `category=shoes`, `price<20`, `brand!=Acme|"A, B"`.

Between conditions of which one is enough stands `or`: `category=shoes or price<20`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from glta_cli.core.errors import InputError

OPERATORS: Final = ("!=", "<=", ">=", "==", "=", "<", ">")
OTHERWISE: Final = "|"
"""Between values of which one is enough."""
_OR: Final = re.compile(r"\s+or\s+", re.IGNORECASE)
_AND: Final = re.compile(r"\s+and\s+|\s*(?:,|&&)\s*", re.IGNORECASE)
QUOTES: Final = "\"'"
LOCATION: Final = "where"
LONGEST: Final = 10_000
_EXAMPLE: Final = 'such as --where "category=shoes" or --where "price<20"'


@dataclass(frozen=True)
class Condition:
    """A column, how it is compared, and with what.

    Attributes:
        operator: `=`, `!=`, `<`, `<=`, `>` or `>=`.
        values: one, or for `=` and `!=` several, of which an item has one (or none).
    """

    column: str
    operator: str
    values: tuple[str, ...]

    @property
    def goes_on(self) -> bool:
        """Whether a value has `and` or a comma and another condition in it, which then is no condition."""
        return any(_begins_one(value[found.end() :]) for value in self.values for found in _AND.finditer(value))

    @property
    def in_brackets(self) -> bool:
        """Whether a bracket opens before the column, or one closes behind the value that was not opened in it."""
        return self.column.startswith("(") or any(value.count(")") > value.count("(") for value in self.values)

    def __str__(self) -> str:
        return f"{_written(self.column)}{self.operator}{OTHERWISE.join(map(_written, self.values))}"


def conditions_of(text: str) -> tuple[Condition, ...]:
    """The conditions of a text, of which one is enough.

    An `or` divides it outside of quotes, where a condition stands before it and another begins behind it: in
    `category=Kitchen or Bath` it is part of the value.

    Raises:
        InputError: it says none.
    """
    _refuse_long(text)
    parts, begin = [], 0
    for found in _OR.finditer(text):
        if _begins_one(text[found.end() :]) and _says_one(text[begin : found.start()]):
            parts.append(text[begin : found.start()])
            begin = found.end()
    return tuple(condition_of(part) for part in (*parts, text[begin:]))


def _begins_one(text: str) -> bool:
    """Whether a column and an operator come first, and no further `or` before them."""
    try:
        name, place = _name_in(text)
    except InputError:
        return False
    in_quotes = text.lstrip()[:1] in tuple(QUOTES)
    return bool(name) and text.startswith(OPERATORS, place) and (in_quotes or not _OR.search(name))


def _says_one(text: str) -> bool:
    try:
        condition_of(text)
    except InputError:
        return False
    return True


def _refuse_long(text: str) -> None:
    if len(text) > LONGEST:
        raise InputError(f"is longer than {LONGEST:,} characters", location=LOCATION, hint=_EXAMPLE)


def condition_of(text: str) -> Condition:
    """The condition a text says; names and values stand in quotes where they hold signs, a doubled quote is one.

    Raises:
        InputError: it says none.
    """
    _refuse_long(text)
    name, place = _name_in(text)
    operator = next((sign for sign in OPERATORS if text.startswith(sign, place)), None)
    if operator is None or not name:
        problem = f"'{text}' is no condition: a column, one of = != < <= > >=, and a value"
        raise InputError(problem, location=LOCATION, hint=_EXAMPLE)
    compared = operator if operator != "==" else "="
    rest = text[place + len(operator) :]
    values = tuple(_values_in(rest, text)) if compared in ("=", "!=") else (_value(rest, text),)
    return Condition(name, compared, values)


def _name_in(text: str) -> tuple[str, int]:
    """The column's name, and where the operator behind it begins."""
    start = len(text) - len(text.lstrip())
    if text[start : start + 1] in tuple(QUOTES):
        name, end = _quoted(text, start, text)
        return name, end + len(text[end:]) - len(text[end:].lstrip())
    places = [place for sign in "!<>=" if (place := text.find(sign, start)) >= 0]
    end = min(places, default=len(text))
    return text[start:end].strip(), end


def _values_in(rest: str, text: str) -> list[str]:
    """The values that stand between bars outside of quotes."""
    parts, begin, place = [], 0, 0
    while place < len(rest):
        if rest[place] in QUOTES and not rest[begin:place].strip():
            place = _quoted(rest, place, text)[1]
        elif rest[place] == OTHERWISE:
            parts.append(rest[begin:place])
            begin = place = place + 1
        else:
            place += 1
    return [_value(part, text) for part in (*parts, rest[begin:])]


def _value(part: str, text: str) -> str:
    """A value without blanks around it, or what stands in its quotes."""
    part = part.strip()
    if part[:1] in tuple(QUOTES):
        value, end = _quoted(part, 0, text)
        if not part[end:].strip():
            return value
        raise InputError(f"'{text}' goes on behind a closing quote", location=LOCATION, hint=_EXAMPLE)
    if not part:
        raise InputError(f"'{text}' names no value", location=LOCATION, hint=_EXAMPLE)
    return part


def _quoted(text: str, start: int, whole: str) -> tuple[str, int]:
    """What stands in the quotes that open at `start`, and the place behind them."""
    mark, letters, place = text[start], [], start + 1
    while place < len(text):
        if text[place] != mark:
            letters.append(text[place])
            place += 1
        elif text.startswith(mark, place + 1):
            letters.append(mark)
            place += 2
        else:
            return "".join(letters), place + 1
    raise InputError(f"'{whole}' has a quote that is not closed", location=LOCATION, hint=_EXAMPLE)


def _written(word: str) -> str:
    """A name or a value as it may be given: in quotes where it holds a sign."""
    signs = set(word) & {*"!<>=|", *QUOTES}
    # An `or` that is the whole of it has an operator or a bar on one side.
    divided = word.casefold() != "or" and _OR.search(f" {word} ")
    plain = word == word.strip() and word and not signs and not divided
    return word if plain else '"' + word.replace('"', '""') + '"'
