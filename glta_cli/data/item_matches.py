"""Whether the items of a log and those of its item file are called the same, and what makes them differ."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from glta_cli.core.counts import agreeing, counted

# What stands between groups of three digits.
_GROUPED: Final = re.compile(r"(?<=[0-9])[,.'\u00a0\u2009\u202f ](?=[0-9]{3}(?![0-9]))")
# What two writings of one id may differ in, the least first.
_SAME_BUT_FOR: Final[Mapping[str, Callable[[str], str]]] = {
    "leading zeros": lambda text: text.lstrip("0") or "0",
    "blanks": lambda text: "".join(c for c in text if not c.isspace() and unicodedata.category(c) != "Cf"),
    "case": str.casefold,
    "thousands separators": lambda text: _GROUPED.sub("", text),
    "Unicode form": lambda text: unicodedata.normalize("NFKC", text),
}
_SHOWN: Final = 3


def match_warnings(log: Iterable[str], described: Iterable[str | None], name: str) -> list[str]:
    """A sentence where less than half of the log's items are in the item file, though it has others.

    Where more are, a sentence on those that it has in another writing.

    Args:
        log: ids of the log.
        described: ids of the item file.
        name: what to call the item file.
    """
    wanted = dict.fromkeys(log)
    present = dict.fromkeys(item for item in described if item)
    missing = [item for item in wanted if item not in present]
    others = [item for item in present if item not in wanted]
    if not others or not missing:
        return []
    alike = written_otherwise(wanted, present)
    if 2 * len(missing) <= len(wanted):
        return _told_of_some(missing, alike, name)
    found = len(wanted) - len(missing)
    told = (
        f"{found:,} of {counted(len(wanted), 'item')} of the log {agreeing(found, 'is', 'are')} in {name}; "
        f"log: {', '.join(missing[:_SHOWN])}; items: {', '.join(others[:_SHOWN])}"
    )
    reasons = {reason for _, reason in alike.values()}
    most_alike = 2 * len(alike) > len(missing)
    return [told + (f": they differ in {_listed(reasons)} alone, so write them alike" if most_alike else "")]


def written_otherwise(log: Iterable[str], described: Iterable[str | None]) -> dict[str, tuple[str, str]]:
    """Items of the log that the item file lacks, but has in another writing: the id there, and what they differ in."""
    wanted = dict.fromkeys(log)
    present = dict.fromkeys(item for item in described if item)
    missing = [item for item in wanted if item not in present]
    others = [item for item in present if item not in wanted] if missing else []
    found: dict[str, tuple[str, str]] = {}
    for reason, bare in _SAME_BUT_FOR.items():
        if not others:
            break
        there = {bare(item): item for item in reversed(others)}
        found |= {
            item: (there[bared], reason) for item in missing if item not in found and (bared := bare(item)) in there
        }
    return found


def _told_of_some(missing: list[str], alike: Mapping[str, tuple[str, str]], name: str) -> list[str]:
    if not alike:
        return []
    shown = ", ".join(f"{item} (there: {other})" for item, (other, _) in list(alike.items())[:_SHOWN])
    reasons = _listed({reason for _, reason in alike.values()})
    return [
        f"{counted(len(missing), 'item of the log is', 'items of the log are')} not in {name}, such as {shown}: "
        f"{counted(len(alike), 'differs', 'differ')} in {reasons} alone, so write them alike"
    ]


def _listed(reasons: set[str]) -> str:
    return " or ".join(reason for reason in _SAME_BUT_FOR if reason in reasons)
