"""Settings that fit the machine: what a recipe file leaves out, or sets to `auto`, of those that decide hours.

A file's values are looked through before the schema sees them. What is found has the schema's default until the machine
is known (`stages/machine_defaults.py`); what a run stores is the value it comes to.
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


def without_automatic(values: Mapping[str, Any], *, unsaid: bool) -> tuple[dict[str, Any], frozenset[Setting]]:
    """Plain values of a recipe without those that are `auto`, and the keys of what is automatic.

    Args:
        unsaid: whether what the values leave out is automatic: in a recipe file it is; what a run stored before there
            was a choice is the schema's default.
    """
    changed = dict(values)
    found = set()
    for section, name in (LAYERS, *WORDS):
        held = changed.get(section, {})
        if not isinstance(held, Mapping):
            continue  # the schema says what is wrong
        if name in held and held[name] == AUTO:
            changed[section] = {key: value for key, value in held.items() if key != name}
            found.add((section, name))
        elif name not in held and unsaid:
            found.add((section, name))
    return changed, frozenset(found)
