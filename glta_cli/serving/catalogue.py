"""The items of an index by what people call them: ids and titles."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from functools import cached_property

from glta_cli.core.counts import agreeing, counted
from glta_cli.core.errors import InputError, InputErrors
from glta_cli.core.printable import visible
from glta_cli.serving.index import Index
from glta_cli.serving.nearest_ids import CLOSE, MOST_COMPARED, NEAREST_IDS, nearest_ids

MOST_HINTED = 5
"""Of several names that are not there, so many are told what is near: in a large catalogue each takes some 0.2 s."""


class Catalogue:
    """Finds items; nothing of it is read before it is asked for."""

    def __init__(self, index: Index) -> None:
        self.index = index

    @cached_property
    def ids(self) -> list[str]:
        """Original item ids, by index."""
        return self.index.item_ids.tolist()

    @cached_property
    def titles(self) -> list[str]:
        """Titles, by index; the id where there is none."""
        return self.index.titles.tolist()

    def shown(self, item: int) -> dict[str, str]:
        """An item as an answer names it."""
        return {"item": self.index.item_ids[item], "title": self.index.titles[item]}

    def position(self, name: str, location: str = "item") -> int:
        """The index of an item by its id, else by its title: as it is spelt, else whatever the case.

        Raises:
            InputError: there is none, or several have that title.
        """
        found = self.found(name)
        if len(found) > 1:
            several = ", ".join(visible(self.ids[item]) for item in found[:5])
            problem = f"{counted(len(found), 'item')} {agreeing(len(found), 'is', 'are')} titled '{visible(name)}'"
            raise InputError(problem, location=location, hint=f"name it by its id, such as {several}")
        if found:
            return found[0]
        raise self.unknown(name, location)

    def found(self, name: str) -> list[int]:
        """The index of the item of that id, else of those of that title: as it is written, or whatever the case."""
        item = self._by_id.get(name)
        if item is not None:
            return [item]
        alike = self._by_title.get(_plain(name), [])
        return [item for item in alike if self.titles[item] == name] or alike

    def positions(self, names: Sequence[str], location: str = "item") -> list[int]:
        """The indices of several items, in their order; raises as `position`, of all that are not there together."""
        found: list[int] = []
        wrong: dict[str, InputError] = {}
        for name in names:
            if name in wrong:
                continue
            if len(wrong) >= MOST_HINTED and not self.found(name):
                wrong[name] = InputError(self._nobody_is(name), location=location)
                continue
            try:
                found.append(self.position(name, location))
            except InputError as error:
                wrong[name] = error
        if len(wrong) > 1:
            raise InputErrors(list(wrong.values()))
        if wrong:
            raise next(iter(wrong.values()))
        return found

    def unknown(self, name: str, location: str) -> InputError:
        """The error of what is neither an id nor a title: what is near, and how many there are."""
        titles = self.search(name, NEAREST_IDS) or self._spelt_like(_plain(name))
        near = [*nearest_ids(name, self.ids), *(f'"{visible(self.titles[item])}"' for item in titles)]
        hint = f"near it are {', '.join(dict.fromkeys(near))}" if near else "name an id or a whole title"
        if any("," in self.titles[item] for item in titles):
            hint += "; a name with a comma stands in quotes of its own in a list"
        return InputError(self._nobody_is(name), location=location, hint=hint)

    def _nobody_is(self, name: str) -> str:
        there = f"there {agreeing(len(self.ids), 'is', 'are')} {counted(len(self.ids), 'item')}"
        return f"no item has the id or the title '{visible(name)}'; {there}"

    def _spelt_like(self, name: str) -> list[int]:
        """Items whose title begins much as a name is spelt: a year or so behind it is often left out."""
        beginnings: dict[str, int] = {}
        for title, items in self._by_title.items():
            beginnings.setdefault(title[: len(name)], items[0])
        known = list(beginnings)
        if len(known) > MOST_COMPARED:
            known = [each for each in known if each[:2] == name[:2]][:MOST_COMPARED]
        return [beginnings[each] for each in get_close_matches(name, known, NEAREST_IDS, CLOSE)]

    def search(self, query: str, limit: int) -> list[int]:
        """Items whose id or title holds each word of a query, whatever the case: those that begin with it first."""
        words = _plain(query).split()
        if not words:
            return []
        texts = self._searched
        found = [item for item, text in enumerate(texts) if all(word in text for word in words)]
        begins = " ".join(words)
        found.sort(key=lambda item: (not texts[item].startswith(begins), len(texts[item]), item))
        return found[:limit]

    @cached_property
    def _by_id(self) -> dict[str, int]:
        return {name: item for item, name in enumerate(self.ids)}

    @cached_property
    def _by_title(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for item, title in enumerate(self.titles):
            found.setdefault(_plain(title), []).append(item)
        return found

    @cached_property
    def _searched(self) -> list[str]:
        return [
            _plain(title if title == name else f"{title} {name}")
            for name, title in zip(self.ids, self.titles, strict=True)
        ]


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
