"""Recommendations for one user, from a published index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import numpy as np

from glta_cli.core.counts import agreeing, counted
from glta_cli.core.errors import InputError
from glta_cli.core.printable import visible
from glta_cli.core.tensors import damaged
from glta_cli.ranking.top_k import mask_seen, top_k
from glta_cli.serving.index import VECTORS, Index
from glta_cli.workspace.artefact import MANIFEST, Artefact

USERS_FILE: Final = "users.parquet"
"""Of the prepared dataset; its own module would import Polars."""

RECENT_ITEMS = 10
NEAREST_IDS = 3
# Share of characters in common, from which on one id may be meant for another.
CLOSE = 0.66
# So many are compared in a tenth of a second.
MOST_COMPARED = 5_000
# Python refuses to read longer ones at all.
LONGEST_NUMBER = 1_000


@dataclass(frozen=True)
class AskedRun:
    """The run an index is asked for, and the name of its dataset."""

    name: str
    dataset: str


def recommend(artefact: Artefact, user: str, k: int, asked: AskedRun | None = None) -> dict[str, Any]:
    """The k best items for a user, with original ids and titles.

    Those of the history that count as seen are left out, and what a list of items names no more (`glta update`).

    Args:
        asked: the run to name in errors.

    Returns:
        `{"user", "row", "terms": {row: weight}, "answered_by", "history": [{"item", "title"}], "recommendations":
        [{"rank", "item", "title", "score"}]}`; `row` is what validation found best, `terms` those it is made of with
        their weights for this user, `answered_by` the same in words; the history's latest item first, at most ten.

    Raises:
        InputError: the user is unknown, or k is less than 1.
        GltaError: the index is damaged.
    """
    if k < 1:
        raise InputError(f"{k} is no number of items", location="-k", hint="ask for at least one")
    try:
        return _answer(Index(artefact), user, k, asked)
    except (IndexError, ValueError, OverflowError, MemoryError) as error:
        # Of a large index the header alone is checked before; what it leads to is no number of this index's.
        raise damaged(artefact.path / VECTORS, f"it leads nowhere: {error}") from error


def known_to(artefact: Artefact) -> dict[str, Any]:
    """What answers are given from: `interactions`, their number, `newest`, the day of the last, and `trained`, how many
    of them the parameters were trained on.

    Each is None where nobody knows: an index of 0.1 knows training items, and no days.
    """
    details = artefact.manifest["details"]
    if "interactions" in details:
        return {**{key: details[key] for key in ("interactions", "newest")}, "trained": details.get("trained")}
    prepared = Artefact(artefact.parent("prepare"))
    known = (prepared.path / MANIFEST).is_file()
    trained = prepared.details["split"]["train"] if known else None
    return {"interactions": trained, "newest": None, "trained": trained}


def _answer(index: Index, user: str, k: int, asked: AskedRun | None) -> dict[str, Any]:
    artefact = index.artefact
    position = index.user(user)
    # Whom the log does not name any more is forgotten, although what was learnt of them lies here until the training.
    if position is None or not len(index.history.of(position)):
        raise unknown_user(user, index.user_ids.tolist(), artefact.parent("prepare") / USERS_FILE, asked)
    users = np.array([position])
    met = index.history.of(position)
    left_out = index.left_out(position)
    scores = index.scorer(*left_out)(users)
    mask_seen(scores, users, *left_out)
    masked = np.unique(np.concatenate([each.of(position) for each in left_out]))
    available = index.seen.item_count - len(masked)
    ranked = top_k(scores, min(k, available))[0] if available else np.empty(0, dtype=np.int64)

    def shown(item: int) -> dict[str, str]:
        return {"item": index.item_ids[item], "title": index.titles[item]}

    return {
        "user": user,
        "row": index.row.name,
        "terms": index.row.of_length(index.length(position)),
        "answered_by": index.row.sentence(),
        "history": [shown(item) for item in met[::-1][:RECENT_ITEMS]],
        "recommendations": [
            {"rank": rank, **shown(item), "score": round(float(scores[0, item]), 4)}
            for rank, item in enumerate(ranked, start=1)
        ],
    }


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


def unknown_user(user: str, ids: Sequence[str], path: Path, asked: AskedRun | None = None) -> InputError:
    """The error of an id no user has: how many there are, which ids are near, and where all of them are listed."""
    near = ", ".join(map(visible, nearest_ids(user, ids)))
    where = f" in run {asked.name} (dataset {asked.dataset})" if asked else ""
    there = f"there {agreeing(len(ids), 'is', 'are')} {counted(len(ids), 'user')}"
    return InputError(
        f"no user is called '{visible(user)}'{where}; {there}",
        location="--user",
        hint=f"{f'the nearest ids are {near}; ' if near else ''}all of them are in {path}",
    )
