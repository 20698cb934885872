"""Whether the items of a log and those of its item file are called the same, and what makes them differ."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Final

# What two writings of one id may differ in, the least first.
_SAME_BUT_FOR: Final[Mapping[str, Callable[[str], str]]] = {
    "leading zeros": lambda text: text.lstrip("0") or "0",
    "blanks": lambda text: "".join(c for c in text if not c.isspace() and unicodedata.category(c) != "Cf"),
    "case": str.casefold,
    "Unicode form": lambda text: unicodedata.normalize("NFKC", text),
}
_SHOWN: Final = 3


def match_warnings(log: Iterable[str], described: Iterable[str | None], name: str) -> list[str]:
    """A sentence where less than half of the log's items are in the item file, though it has others.

    Args:
        log: ids of the log.
        described: ids of the item file.
        name: what to call the item file.
    """
    wanted = dict.fromkeys(log)
    present = dict.fromkeys(item for item in described if item)
    missing = [item for item in wanted if item not in present]
    others = [item for item in present if item not in wanted]
    if not others or 2 * len(missing) <= len(wanted):
        return []
    found = len(wanted) - len(missing)
    told = (
        f"{found:,} of {len(wanted):,} items of the log are in {name}; "
        f"log: {', '.join(missing[:_SHOWN])}; items: {', '.join(others[:_SHOWN])}"
    )
    reason = next((reason for reason, bare in _SAME_BUT_FOR.items() if _meet(missing, others, bare)), None)
    return [told + (f": they differ in {reason} alone, so write them alike" if reason else "")]


def _meet(missing: list[str], others: list[str], bare: Callable[[str], str]) -> bool:
    """Whether most of the missing items have another under the same bare writing."""
    bared = {bare(item) for item in others}
    return 2 * sum(bare(item) in bared for item in missing) > len(missing)
