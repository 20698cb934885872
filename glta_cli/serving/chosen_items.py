"""Which items a list may be made of: those that are named, without others, that meet conditions on their columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.counts import agreeing, counted
from glta_cli.core.errors import InputError
from glta_cli.core.printable import visible
from glta_cli.serving.catalogue import Catalogue
from glta_cli.serving.item_filter import ItemColumns


@dataclass(frozen=True, eq=False)
class ChosenItems:
    """The items that are left.

    Attributes:
        allowed: bool [I].
        count: how many of them may be answered at all.
        remarks: sentences on names that no item has.
    """

    allowed: NDArray[np.bool_]
    count: int
    remarks: tuple[str, ...] = ()

    def answerable_of(self, items: NDArray[np.int64], delisted: NDArray[np.int64]) -> int:
        """How many of these items, [n], are left to answer with; those that are delisted, [m], are not."""
        return int(self.allowed[np.setdiff1d(items, delisted)].sum())


def chosen_items(
    catalogue: Catalogue,
    columns: ItemColumns,
    *,
    only: Sequence[str] | None = None,
    without: Sequence[str] = (),
    where: Sequence[str] = (),
) -> ChosenItems | None:
    """The items that all of it leaves; None where nothing is chosen by.

    Args:
        only: ids or titles of the only items; None for all.
        without: ids or titles of items that are not to be answered.
        where: conditions, as `conditions_of` reads them.

    Raises:
        InputError: no name of a list is an item's, a condition cannot be met, or nothing is left.
    """
    if only is None and not without and not where:
        return None
    index, remarks = catalogue.index, []
    allowed = np.ones(index.seen.item_count, dtype=bool)
    told = []
    if only is not None:
        named, unknown = _named(catalogue, only, "only")
        allowed &= named
        remarks += unknown
        told.append(f"only: {counted(int(named.sum()), 'item')}")
    if where:
        meeting = columns.where(where)
        allowed &= meeting
        told.append(f"where: {int(meeting.sum()):,}")
    if without:
        named, unknown = _named(catalogue, without, "without")
        allowed &= ~named
        remarks += unknown
        told.append(f"without {int(named.sum()):,}")
    answerable = allowed.copy()
    answerable[index.delisted] = False
    if not answerable.any():
        gone = int(allowed.sum())
        listed = f"{gone:,} {agreeing(gone, 'is', 'are')} listed no more; " if gone else ""
        raise InputError(
            f"no item is left to answer with ({listed}{', '.join(told)})",
            location="where" if where else "only" if only is not None else "without",
            hint="choose by less",
        )
    return ChosenItems(allowed, int(answerable.sum()), tuple(remarks))


def _named(catalogue: Catalogue, names: Sequence[str], location: str) -> tuple[NDArray[np.bool_], list[str]]:
    """The items of these ids or titles, [I], and a sentence where some are nobody's; raises where all are."""
    named = np.zeros(len(catalogue.ids), dtype=bool)
    unknown = []
    for name in names:
        found = catalogue.found(name)
        named[found] = True
        if not found:
            unknown.append(name)
    if not names:
        raise InputError("names no item", location=location, hint="give ids or titles, with commas between them")
    if len(unknown) == len(names):
        if len(names) == 1:
            raise catalogue.unknown(unknown[0], location)
        raise InputError(
            f"not one of {len(names):,} names is the id or the title of an item, such as '{visible(unknown[0])}'",
            location=location,
            hint=catalogue.unknown(unknown[0], location).hint,
        )
    if not unknown:
        return named, []
    are = agreeing(len(unknown), "is no item's", "are no item's")
    return named, [f"{len(unknown):,} of {counted(len(names), 'name')} {are}, such as '{visible(unknown[0])}'"]
