"""Items like an item: by the vectors of the graph, by those of the texts, or by what the linear term makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.counts import counted
from glta_cli.core.errors import InputError, did_you_mean
from glta_cli.core.tensors import damaged
from glta_cli.ranking.top_k import top_k
from glta_cli.recipe.fused_terms import ENCODER, LANGUAGE, LINEAR
from glta_cli.serving.index import Index
from glta_cli.serving.mapped_tensors import tensors_in
from glta_cli.workspace.artefact import MANIFEST, Artefact

GRAPH: Final = "graph"
TEXT: Final = "text"
WAYS: Final = (GRAPH, TEXT, LINEAR)
WAY_OF_TERM: Final = {ENCODER: GRAPH, LANGUAGE: TEXT, LINEAR: LINEAR}
COSINE: Final = "cosine"
WEIGHT: Final = "weight"

TEXTS_STAGE: Final = "encode-items"
TEXT_VECTORS: Final = "vectors.safetensors"
"""Of that stage, with the tensor `vectors`, float32 [I, D]; `stages/` writes it, which is below this package."""


@dataclass(frozen=True, eq=False)
class Similar:
    """Items like one item.

    Attributes:
        way: graph, text or linear.
        measure: what the scores are: cosine, or weight.
        row: what computed them, such as the encoder's name.
        items: positions, best first, int64 [n].
        scores: float32 [n], of those items.
    """

    way: str
    measure: str
    row: str
    items: NDArray[np.int64]
    scores: NDArray[np.float32]


def similar_items(index: Index, item: int, k: int, way: str | None = None) -> Similar:
    """The k items most like an item, but for itself and what is in nobody's answers.

    By vectors that is the largest cosine. By the linear term B it is the largest weight B[item, j]: what having met the
    item adds to the score of j; an item to which it adds nothing is not like it, so there may be fewer than k.

    Args:
        item: its position.
        way: graph, text or linear; None takes `usual_way`.

    Raises:
        InputError: there is no such way, the index has nothing of the kind, or nothing of this item.
        GltaError: a file is damaged.
    """
    chosen = usual_way(index) if way is None else _checked(index, way)
    scores, row = _scores(index, item, chosen)
    scores[item] = -np.inf
    scores[index.delisted] = -np.inf
    if chosen == LINEAR:
        scores[scores <= 0] = -np.inf
    best = top_k(scores[None], k)[0]
    best = best[np.isfinite(scores[best])]
    return Similar(chosen, WEIGHT if chosen == LINEAR else COSINE, row, best, scores[best])


def usual_way(index: Index) -> str:
    """By what the row the index answers from is made of: of several terms, the one that is best alone on validation.

    A language model alone is asked for the vectors of the texts, and where those are not there of the graph.
    """
    terms, figures = index.row.terms, index.artefact.manifest["details"].get("validation", {})
    best = max(terms, key=lambda term: figures.get(index.row.rows[term], -np.inf))
    held = ways_held(index)
    wanted = WAY_OF_TERM[best]
    if wanted in held:
        return wanted
    if not held:
        raise _nothing(index)
    return held[0]


def ways_held(index: Index) -> list[str]:
    """The ways an index can be asked in."""
    held = {WAY_OF_TERM[term] for term in index.terms} - {TEXT}
    if _texts(index) is not None:
        held.add(TEXT)
    return [way for way in WAYS if way in held]


def _checked(index: Index, way: str) -> str:
    if way not in WAYS:
        hint = did_you_mean(way, WAYS)
        raise InputError(f"'{way}' is not one of {', '.join(WAYS)}", location="by", hint=hint)
    held = ways_held(index)
    if way in held:
        return way
    if not held:
        raise _nothing(index)
    what = {GRAPH: "vectors of the graph", TEXT: "vectors of item texts", LINEAR: "linear term"}[way]
    raise InputError(
        f"the run holds no {what}",
        location="by",
        hint=f"it can be asked by {' or '.join(held)}",
    )


def _nothing(index: Index) -> InputError:
    return InputError(
        f"nothing the run answers from says which items are alike: it answers by {index.row.sentence()}",
        hint="a run with an encoder, a linear term or item texts does",
    )


def _scores(index: Index, item: int, way: str) -> tuple[NDArray[np.float32], str]:
    """Of every item how much it is like one item, [I], and the name of what says so."""
    if way == LINEAR:
        weights, _ = index.item_weights()
        own = weights.weighted_sum(np.array([item]), np.ones(1, dtype=np.float32))
        return own, index.row.rows[LINEAR]
    if way == GRAPH:
        return _cosines(index.graph_vectors()[1], item, _named(index, item), "of the graph"), index.encoder
    texts = _texts(index)
    assert texts is not None
    count = len(index.item_ids)
    if item >= len(texts):
        raise InputError(
            "came with an update, and the vectors of texts are those of the training",
            location=_named(index, item),
            hint="glta update --train reads it; by graph or linear it is known",
        )
    scores = np.full(count, -np.inf, dtype=np.float32)
    scores[: len(texts)] = _cosines(texts.T, item, _named(index, item), "of its text")
    return scores, "item texts"


def _cosines(columns: NDArray[np.float32], item: int, name: str, of_what: str) -> NDArray[np.float32]:
    """Cosines of one column of [D, I] with all of them: [I]; of a column of zeros 0."""
    lengths = np.sqrt(np.einsum("di,di->i", columns, columns))  # [I]
    if not lengths[item]:
        raise InputError(f"its vector {of_what} is zero: nothing is known of it", location=name)
    products: NDArray[np.float32] = columns[:, item] @ columns  # [I]
    return np.divide(products, lengths * lengths[item], out=np.zeros_like(products), where=lengths > 0)


def _texts(index: Index) -> NDArray[np.float32] | None:
    """The vectors of the item texts as they lie in their file, [I, D]; None where the run reads none."""
    artefact = index.artefact
    if TEXTS_STAGE not in artefact.manifest["inputs"]:
        return None
    texts = Artefact(artefact.parent(TEXTS_STAGE))
    if not (texts.path / MANIFEST).is_file():
        return None
    path = texts.mapped_file(TEXT_VECTORS)
    vectors: NDArray[np.float32] = tensors_in(path, {"vectors"})["vectors"]
    if vectors.ndim != 2 or len(vectors) > len(index.item_ids):
        raise damaged(path, f"vectors of shape {list(vectors.shape)} for {counted(len(index.item_ids), 'item')}")
    return vectors


def _named(index: Index, item: int) -> str:
    return f"item {index.item_ids[item]}"
