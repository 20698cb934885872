"""What a baseline has to give: named arrays, scores that can be ranked, and a form that an index can keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.errors import GltaError
from glta_cli.plugin import LinearTerm, LowRankTerm, Term, VectorTerm
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.scorer import Scorer

# Safetensors holds all real numbers of numpy but those of more bytes, long doubles.
LARGEST_NUMBER = 8
# Safetensors keeps words about the file under this name.
METADATA = "__metadata__"


def checked_arrays(learnt: Any, name: str) -> dict[str, NDArray[Any]]:
    """What `fit` returned, contiguous; raises `GltaError` unless it is named arrays of numbers, at least one."""
    if not isinstance(learnt, Mapping) or not all(
        isinstance(key, str) and isinstance(array, np.ndarray) and array.dtype.kind in "biuf"
        for key, array in learnt.items()
    ):
        raise GltaError(
            f"what the baseline '{name}' learnt is not a mapping of names to arrays of numbers: {_seen(learnt)}"
        )
    if not learnt:
        raise GltaError(f"the baseline '{name}' learnt nothing: the mapping is empty")
    if METADATA in learnt:
        raise GltaError(f"the baseline '{name}' calls an array {METADATA}, a name safetensors keeps for itself")
    for key, array in learnt.items():
        if array.dtype.itemsize > LARGEST_NUMBER:
            raise GltaError(f"the baseline '{name}' learnt '{key}' as {array.dtype}, which safetensors cannot hold")
    return {key: np.asarray(array, order="C") for key, array in learnt.items()}


def _seen(learnt: Any) -> str:
    if not isinstance(learnt, Mapping):
        return f"a {type(learnt).__name__}"
    return ", ".join(f"{key!r} is {_kind(array)}" for key, array in learnt.items())


def _kind(array: Any) -> str:
    return f"of {array.dtype}" if isinstance(array, np.ndarray) else f"a {type(array).__name__}"


def checked_scorer(score: Scorer, name: str, items: int) -> Scorer:
    """The same scores, of a catalogue of so many items; raises `GltaError` that names the baseline where they are none.

    The ranking masks with minus infinity: integers cannot hold it, and among scores it would let seen items in.
    """

    def checked(users: NDArray[np.int64]) -> NDArray[np.float32]:
        scores = score(users)
        problem = score_problem(scores, (len(users), items))
        if problem is not None:
            raise GltaError(
                f"the scores of the baseline '{name}' cannot be ranked: {problem}",
                hint="its scorer has to give float32 [B, I], every score finite; tell its author",
            )
        return scores

    return checked


def score_problem(scores: Any, shape: tuple[int, int]) -> str | None:
    """What is wrong with what a scorer gave for users and items of that shape; None where nothing is."""
    if type(scores) is not np.ndarray:
        return f"it gives a {type(scores).__name__}"
    if scores.shape != shape:
        return f"its shape is {list(scores.shape)}, not {list(shape)}"
    if scores.dtype != np.float32:
        return f"it gives {scores.dtype}"
    # Their sum is finite only where they are, and asks for less time than each of them.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(scores.sum()):
            return None
    wild = np.unique(scores[~np.isfinite(scores)])
    return f"among the scores: {', '.join(map(str, wild))}" if len(wild) else None


def checked_term(term: Any, name: str, histories: Interactions) -> Term:
    """The same term, of these users and items; raises `GltaError` that names the baseline where it is none.

    That it gives the scores of the baseline is checked by `glta_cli.testing`.
    """
    problem = _term_problem(term, histories.user_count, histories.item_count)
    if problem is not None:
        raise GltaError(
            f"the term of the baseline '{name}' cannot be kept in an index: {problem}",
            hint=f"glta_cli.testing.check_baseline('{name}') says all that is wrong; tell its author",
        )
    checked: Term = term
    return checked


def _term_problem(term: Any, users: int, items: int) -> str | None:
    if isinstance(term, LinearTerm):
        shapes: dict[str, tuple[Any, tuple[int, ...]]] = {"weights": (term.weights, (items, items))}
        if not 0 < term.recency <= 1:
            return f"its recency is {term.recency}, not above 0 and at most 1"
    elif isinstance(term, LowRankTerm):
        size = int(np.shape(term.targets)[-1]) if np.ndim(term.targets) else 0
        shapes = {"sources": (term.sources, (items, size)), "targets": (term.targets, (items, size))}
        shapes["own"] = (term.own, (items,))
        if not 0 < term.recency <= 1:
            return f"its recency is {term.recency}, not above 0 and at most 1"
    elif isinstance(term, VectorTerm):
        size = int(np.shape(term.items)[-1]) if np.ndim(term.items) else 0
        shapes = {"users": (term.users, (users, size)), "items": (term.items, (items, size))}
        if term.bias is not None:
            shapes["bias"] = (term.bias, (items,))
    else:
        return f"it is a {type(term).__name__}, not a LinearTerm, a LowRankTerm or a VectorTerm"
    for part, (array, shape) in shapes.items():
        found = tuple(getattr(array, "shape", ()))
        if found != shape:
            return f"the shape of its {part} is {list(found)}, not {list(shape)}"
        if array.dtype != np.float32:
            return f"its {part} are {array.dtype}, not float32"
        if not np.isfinite(array.data if hasattr(array, "indptr") else array).all():
            return f"not all of its {part} are finite"
    return None
