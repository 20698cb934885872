"""What somebody who is in no file has met, as people write it: items, each with its event where one is named."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral
from typing import Any, Final, NamedTuple

from glta_cli.core.errors import InputError
from glta_cli.core.printable import visible

EVENT_SIGN: Final = "="
"""Between an item and its event, as between a column and its value in `--where`: of the signs that offer themselves the
one that ids and titles hold least, where a colon stands in many titles and ids, and an @ in addresses."""


class Met(NamedTuple):
    """An item, by id or title, and the event of the log by which it was met; None where nobody says."""

    item: str
    event: str | None = None


Entry = str | Met
"""Text is an item, or an item and its event with a sign between them (`Histories.split`)."""

EntryGiven = str | int | tuple[str | int, str | int | None] | Mapping[str, Any]
History = str | int | Iterable[EntryGiven] | Mapping[str, str | int | None]
"""A history as programs give it."""

_IN_QUOTES = r'"(?:[^"]|"")*"'
# One entry and what ends it: a name in quotes, with an event or without, or all there is to the next comma that is not
# in an event in quotes.
_ENTRY = (
    rf"\s*(?:(?P<name>{_IN_QUOTES})\s*(?:=\s*(?P<event>{_IN_QUOTES}|[^,\n\"]*))?"
    rf"|(?P<bare>[^\",\n][^,\n]*?=\s*{_IN_QUOTES}(?=\s*(?:,|\n|$))|[^\",\n][^,\n]*)?)\s*(?:,|\n|$)"
)


def entries_between_commas(text: str, location: str) -> tuple[Entry, ...]:
    """Entries that stand between commas or on lines of their own; a name that holds a comma stands in quotes.

    Raises:
        InputError: a quote has no end, or something other than an event follows it.
    """
    entry_in, lines, place = re.compile(_ENTRY), "\n".join(text.splitlines()), 0
    found: list[Entry] = []
    while place < len(lines):
        entry = entry_in.match(lines, place)
        if entry is None:
            hint = 'separate ids or titles by commas; one with a comma stands in quotes: "Heat, 1995",A-12'
            problem = f"cannot be read as a list from '{visible(lines[place:].strip()[:40])}' on"
            raise InputError(problem, location=location, hint=hint)
        found += _entry(entry)
        place = entry.end()
    return tuple(found)


def _entry(found: re.Match[str]) -> list[Entry]:
    if found["name"] is None:
        bare = (found["bare"] or "").strip()
        return [bare] if bare else []
    name = unquoted(found["name"]).strip()
    if found["event"] is None:
        return [name] if name else []
    return [Met(name, unquoted(found["event"]).strip())]


def unquoted(text: str) -> str:
    """Text without the quotes around it, where there are such."""
    text = text.strip()
    return text[1:-1].replace('""', '"') if re.fullmatch(_IN_QUOTES, text) else text


def entries_given(history: History, is_one: Callable[[str], bool], location: str) -> tuple[Entry, ...]:
    """The entries of what a program gives: a list, a mapping of items to events, one entry, or one text as commands
    take it.

    Args:
        is_one: whether a text with commas in it is one entry all the same.

    Raises:
        InputError: a list cannot be read, or what should be an item with its event is something else.
    """
    if isinstance(history, str):
        return (history,) if is_one(history) else entries_between_commas(history, location)
    if isinstance(history, Mapping) and history.keys() >= {"item", "event"}:
        return (_given(history, location),)
    if isinstance(history, Mapping):
        return tuple(_met(each, location) for each in history.items())
    if not isinstance(history, Iterable):
        return (str(history),)
    return tuple(_given(each, location) for each in history)


def _given(entry: Any, location: str) -> Entry:
    if isinstance(entry, Mapping):
        if "item" not in entry or entry.keys() - {"item", "event", "title"}:
            raise _no_entry(entry, location)
        return _met((entry["item"], entry.get("event")), location)
    return _met(entry, location) if isinstance(entry, tuple | list) else str(entry)


def _met(pair: tuple[Any, ...] | list[Any], location: str) -> Met:
    # A log may call its events 1 and 2, as it may its items.
    if len(pair) != 2 or isinstance(pair[1], bool) or not isinstance(pair[1], str | Integral | None):
        raise _no_entry(pair, location)
    return Met(str(pair[0]), None if pair[1] is None else str(pair[1]))


def _no_entry(entry: object, location: str) -> InputError:
    hint = 'such as ("A-653", "purchase"), or {"item": "A-653", "event": "purchase"}'
    return InputError(f"{visible(repr(entry)[:100])} is no item with its event", location=location, hint=hint)
