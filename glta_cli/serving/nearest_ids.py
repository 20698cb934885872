"""Ids somebody may have meant who named one that is not there."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

NEAREST_IDS = 3
# Share of characters in common, from which on one id may be meant for another.
CLOSE = 0.66
# So many are compared in a tenth of a second.
MOST_COMPARED = 5_000
# Python refuses to read longer ones at all.
LONGEST_NUMBER = 1_000


def nearest_ids(wanted: str, ids: Sequence[str]) -> list[str]:
    """Ids the wanted one may stand for: beside it where ids are numbers, else spelt much the same, or none.

    Where ids are no numbers those that differ in case, blanks and leading zeros alone come first. Of more than
    `MOST_COMPARED` as long as it, give or take two characters, those that begin or end like it are looked at.
    """
    if all(each.isdecimal() and len(each) <= LONGEST_NUMBER for each in (wanted, *ids)):
        number = int(wanted)
        return sorted(ids, key=lambda known: (abs(int(known) - number), int(known)))[:NEAREST_IDS]
    plain = _plain(wanted)
    same = [each for each in ids if _plain(each) == plain][:NEAREST_IDS]
    alike = [each for each in ids if abs(len(each) - len(wanted)) <= 2 and each not in same]
    if len(alike) > MOST_COMPARED:
        end = max(1, len(wanted) // 2)
        alike = [each for each in alike if each.startswith(wanted[:end]) or each.endswith(wanted[-end:])]
    spelt = {each.casefold(): each for each in alike[:MOST_COMPARED]}
    close = get_close_matches(wanted.casefold(), list(spelt), NEAREST_IDS, CLOSE)
    return [*same, *(spelt[each] for each in close)][:NEAREST_IDS]


def _plain(text: str) -> str:
    return "".join(text.split()).casefold().lstrip("0")
