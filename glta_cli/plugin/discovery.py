"""Which plugins there are, and which of them are wanted."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points

from glta_cli.core.errors import InputError
from glta_cli.plugin.component import OWN_DISTRIBUTION, BrokenPlugin, Origin
from glta_cli.plugin.hooks import ENTRY_POINT_GROUP


def strict() -> bool:
    """Whether a broken plugin, or a logger that fails, is an error: GLTA_STRICT_PLUGINS.

    Raises:
        InputError: its value is neither yes nor no.
    """
    value = os.environ.get("GLTA_STRICT_PLUGINS", "").strip().lower()
    if value in ("1", "true", "yes", "on"):
        return True
    if value in ("", "0", "false", "no", "off"):
        return False
    raise InputError(f"'{value}' is neither 1 nor 0", location="GLTA_STRICT_PLUGINS")


def discovered() -> tuple[list[EntryPoint], list[BrokenPlugin]]:
    """The entry points of all distributions, and those distributions whose list of them cannot be read."""
    try:
        return list(entry_points(group=ENTRY_POINT_GROUP)), []
    except Exception:
        # One damaged file is enough to end up here, whichever package it belongs to.
        return _discovered_one_by_one()


def _discovered_one_by_one() -> tuple[list[EntryPoint], list[BrokenPlugin]]:
    found: list[EntryPoint] = []
    broken: list[BrokenPlugin] = []
    for distribution in distributions():
        try:
            found += distribution.entry_points.select(group=ENTRY_POINT_GROUP)
        except Exception as cause:
            name, version = _name_and_version(distribution)
            broken.append(BrokenPlugin(Origin("entry_points.txt", name or "a package without a name", version), cause))
    return found, broken


def wanted(entries: Iterable[EntryPoint]) -> list[EntryPoint]:
    """The entry points to load: glta's own, and of the others those GLTA_LOAD_PLUGINS names, or all without it.

    Raises:
        InputError: GLTA_LOAD_PLUGINS names what is not installed.
    """
    listed = os.environ.get("GLTA_LOAD_PLUGINS")
    own: list[EntryPoint] = []
    others: list[EntryPoint] = []
    for entry in sorted(entries, key=lambda entry: (origin_of(entry).distribution, entry.name)):
        (own if origin_of(entry).distribution == OWN_DISTRIBUTION else others).append(entry)
    if listed is None:
        return own + others
    names = {_normalised(name) for name in listed.split(",") if name.strip()} - {OWN_DISTRIBUTION}
    chosen = [entry for entry in others if _names(entry) & names]
    unknown = names.difference(*map(_names, chosen))
    if unknown:
        known = sorted({origin_of(entry).distribution for entry in others})
        raise InputError(
            f"no plugin is called {' or '.join(sorted(unknown))}",
            location="GLTA_LOAD_PLUGINS",
            hint=f"installed beside glta's own: {', '.join(known) or 'none'}",
        )
    return own + chosen


def _names(entry: EntryPoint) -> set[str]:
    return {_normalised(entry.name), _normalised(origin_of(entry).distribution)}


def _normalised(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def origin_of(entry: EntryPoint) -> Origin:
    """The distribution of an entry point, by its metadata."""
    name, version = (None, "unknown") if entry.dist is None else _name_and_version(entry.dist)
    return Origin(entry.name, name or entry.value, version)


def _name_and_version(distribution: Distribution) -> tuple[str | None, str]:
    """As its metadata has them: a package half removed may have none."""
    try:
        metadata = distribution.metadata
        name, version = (next(iter(metadata.get_all(key) or []), None) for key in ("Name", "Version"))
        return name, version or "unknown"
    except Exception:
        return None, "unknown"
