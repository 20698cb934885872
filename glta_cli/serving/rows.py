"""The rows an index can answer from: what is served, each term it holds alone, and popularity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.errors import InputError, did_you_mean
from glta_cli.core.printable import visible
from glta_cli.recipe.fused_terms import LANGUAGE
from glta_cli.serving.index import Index
from glta_cli.serving.served_row import LANGUAGE_ROW, POPULARITY, ServedRow

NAMES: Final = {POPULARITY: POPULARITY}
POPULARITY_ROW: Final = ServedRow((POPULARITY,), None, NAMES, NAMES)


def in_place_of(index: Index, row: ServedRow) -> Callable[[], NDArray[np.float32]] | None:
    """What ranks where a row tells nothing of somebody: popularity, [I], but in place of itself nothing."""
    return None if row.terms == POPULARITY_ROW.terms else index.popularity


def rows_held(index: Index) -> dict[str, ServedRow]:
    """By name, what is served first."""
    served = index.row
    alone = {served.rows[term]: ServedRow((term,), None, served.rows, served.shown) for term in index.terms}
    return {served.name: served} | {
        name: row for name, row in {**alone, POPULARITY: POPULARITY_ROW}.items() if name != served.name
    }


def row_called(index: Index, name: str | None) -> ServedRow:
    """The row of that name; what is served where it is None.

    Raises:
        InputError: the index holds no such row.
    """
    held = rows_held(index)
    if name is None:
        return index.row
    if name in held:
        return held[name]
    known = ", ".join(held)
    backbone = str(index.artefact.manifest["details"].get("backbone", LANGUAGE_ROW))
    if name in (LANGUAGE_ROW, backbone) and LANGUAGE not in index.terms:
        problem = "the language model has no part in what is served, so nobody was read out of it"
        hint = f"take one of {known}; --set 'fusion.terms=[llm]' serves the language model"
    else:
        problem = f"no row is called '{visible(name)}' here"
        meant = f"the language model's is {LANGUAGE_ROW};" if name == backbone else did_you_mean(name, list(held))
        hint = f"{meant} there are {known}" if meant else f"there are {known}"
    raise InputError(problem, location="model", hint=hint)
