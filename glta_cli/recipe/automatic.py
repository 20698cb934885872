"""Settings that fit the machine: what a recipe file leaves out, or sets to `auto`, of those that decide hours.

A file's values are looked through before the schema sees them. What is found gets a place holder, and its value once
the machine is known (`stages/machine_defaults.py`); what a run stores is that value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

# Section and name.
Setting = tuple[str, str]

AUTO: Final = "auto"
# Layers of a language model that run without a GPU.
EARLY_EXIT: Final = 4
LAYERS: Final[Setting] = ("backbone", "layers")
WORDS: Final[tuple[Setting, ...]] = (("interests", "profile"), ("interests", "prediction"))
# What stands in its place until then contradicts no other setting.
PLACE_HOLDERS: Final[Mapping[Setting, Any]] = {LAYERS: None, **dict.fromkeys(WORDS, False)}


def without_automatic(values: Mapping[str, Any], *, unsaid: bool) -> tuple[dict[str, Any], frozenset[Setting]]:
    """Plain values of a recipe with place holders for what is automatic, and the keys of that.

    Args:
        unsaid: whether what the values leave out is automatic: in a recipe file it is; what a run stored before there
            was a choice is the schema's default.
    """
    changed = dict(values)
    found = set()
    for key, holder in PLACE_HOLDERS.items():
        section, name = key
        held = changed.get(section, {})
        if not isinstance(held, Mapping):
            continue  # the schema says what is wrong
        if held.get(name) == AUTO if name in held else unsaid:
            changed[section] = {**held, name: holder}
            found.add(key)
    return changed, frozenset(found)
