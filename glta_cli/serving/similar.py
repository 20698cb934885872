"""Items like an item: by the vectors of the graph, by those of the texts, or by what the linear term makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.counts import agreeing, counted
from glta_cli.core.errors import InputError, did_you_mean
from glta_cli.core.printable import visible
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

NAMED: Final = 3
"""Of items of a history that are the mean, so many are named."""

TEXTS_ROW: Final = "item texts"
"""What the scores of the way by text come from."""

READ_TEXTS: Final = "--set text.backbone=minilm --set 'fusion.terms=[ease-text]'"
"""What has the texts of items read whatever else a recipe says: something to read them with, and a term of them."""

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
        unmet: how many items that could have stood in the list are not compared, as nobody has met them and no text
            foretells them.
    """

    way: str
    measure: str
    row: str
    items: NDArray[np.int64]
    scores: NDArray[np.float32]
    unmet: int = 0


def similar_items(
    index: Index, item: int, k: int, way: str | None = None, allowed: NDArray[np.bool_] | None = None
) -> Similar:
    """The k items most like an item, but for itself and what is in nobody's answers.

    By vectors that is the largest cosine, by the graph among what is more to it than the mean (`is_the_mean`). By the
    linear term B it is the largest weight B[item, j]: what having met the item adds to the score of j; an item to which
    it adds nothing is not like it. So there may be fewer than k.

    Args:
        item: its position.
        way: graph, text or linear; None takes `usual_way`.
        allowed: which items may stand in the list, [I]; None for all.

    Raises:
        InputError: there is no such way, the index has nothing of the kind, or nothing of this item.
        GltaError: a file is damaged.
    """
    chosen = usual_way(index) if way is None else _checked(index, way)
    scores, row = _scores(index, item, chosen)
    scores[item] = -np.inf
    if chosen == LINEAR:
        scores[scores <= 0] = -np.inf
    unmet = np.zeros(len(scores), dtype=np.bool_)
    if chosen == GRAPH and not _foretold(index):
        unmet = index.popularity() == 0  # [I]
        scores[unmet] = -np.inf
        unmet[index.delisted] = unmet[item] = False
        if allowed is not None:
            unmet &= allowed
    best = nearest(index, scores, k, allowed)
    return Similar(chosen, WEIGHT if chosen == LINEAR else COSINE, row, best, scores[best], int(unmet.sum()))


def nearest(
    index: Index, scores: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """The k items of the highest scores [I], which may be minus infinity for none; int64 [n]. Writes to the scores."""
    scores[index.delisted] = -np.inf
    if allowed is not None:
        scores[~allowed] = -np.inf
    best = top_k(scores[None], k)[0]
    return best[np.isfinite(scores[best])]


def why_nothing_is_like(index: Index, item: int) -> str:
    """Of an item that the linear term has no weight of above zero: that it has none, why, and what else knows of it."""
    why = "" if index.popularity()[item] else ", which nobody has met"
    others = _ways_that_know(index, item)
    hint = f"it can be asked by {' or '.join(others)}" if others else "nothing else the run holds knows of it either"
    return f"{index.row.rows[LINEAR]} has no weight above zero of {_named(index, item)}{why}: {hint}"


def is_the_mean(index: Index, item: int) -> bool:
    """Whether the encoder's vector of an item is the mean of the others': nobody met it, and no text foretells it."""
    return not index.popularity()[item] and not _foretold(index)


def said_of_the_mean(index: Index, met: NDArray[np.int64]) -> list[str]:
    """What is to be said of a history, oldest first, with items that are the mean to the encoder; nothing of others."""
    if _foretold(index) or not (unmet := index.popularity()[met] == 0).any():
        return []
    mean = [visible(index.item_ids[item]) for item in dict.fromkeys(met[unmet][::-1].tolist())]
    more = f" and {counted(len(mean) - NAMED, 'other item')}" if len(mean) > NAMED else ""
    named = f"{agreeing(len(mean), 'item', 'items')} {', '.join(mean[:NAMED])}{more}"
    what, it = agreeing(len(mean), "it is", "they are"), agreeing(len(mean), "it is", "each is")
    return [f"nobody has met {named}, and no text says what {what}: by {index.encoder} {it} the mean item"]


def _foretold(index: Index) -> bool:
    """Whether the vectors of items nobody met are foretold by their texts."""
    return texts_read(index.artefact) is not None


def texts_read(index: Artefact) -> Artefact | None:
    """What holds the vectors of item texts an index was made with, or what it was made of; None where none was."""
    for name in ("", *index.manifest["inputs"]):
        made = Artefact(index.parent(name)) if name else index
        if (made.path / MANIFEST).is_file() and TEXTS_STAGE in made.manifest["inputs"]:
            return Artefact(made.parent(TEXTS_STAGE))
    return None


def _ways_that_know(index: Index, item: int, *, but: str = LINEAR) -> list[str]:
    """By which other ways items are like this one."""
    return [way for way in ways_held(index) if way != but and _knows(index, item, way)]


def _knows(index: Index, item: int, way: str) -> bool:
    """Whether something is known of an item in one way: a weight above zero, or a vector of its own."""
    if way == LINEAR:
        weights, _ = index.item_weights()
        own = weights.weighted_sum(np.array([item]), np.ones(1, dtype=np.float32))
        own[item] = 0
        return bool((own > 0).any())
    if way == GRAPH:
        return not is_the_mean(index, item) and bool(index.graph_vectors()[1][:, item].any())
    texts = _texts(index)
    return texts is not None and item < len(texts) and bool(texts[item].any())


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
    asked_by = f"it can be asked by {' or '.join(held)}"
    if way != TEXT:
        what = "vectors of the graph" if way == GRAPH else "linear term"
        raise InputError(f"the run holds no {what}", location="by", hint=asked_by)
    raise no_texts(index.artefact, asked_by)


def no_texts(index: Artefact, instead: str | None = None, location: str = "by") -> InputError:
    """The error of a run without vectors of item texts: whether there are texts, and what to do.

    Args:
        instead: what can be asked of it as it is.
    """
    prepared = Artefact(index.parent("prepare"))
    there = (prepared.path / MANIFEST).is_file() and prepared.manifest["details"].get("has_text")
    if there:
        problem = "this run reads no item texts"
        hint = f"glta recommend --user ID --recipe FILE --run NAME {READ_TEXTS} has them read, in a run of its own"
    else:
        problem, hint = "nothing is written about the items of this run", "name a file of items with their texts"
    return InputError(problem, location=location, hint=hint if instead is None else f"{instead}; {hint}")


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
        return _cosines(index, index.graph_vectors()[1], item, way), index.encoder
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
    scores[: len(texts)] = _cosines(index, texts.T, item, way)
    return scores, TEXTS_ROW


def _cosines(index: Index, columns: NDArray[np.float32], item: int, way: str) -> NDArray[np.float32]:
    """Cosines of one column of [D, I] with all of them: [I]; of a column of zeros 0."""
    lengths = np.sqrt(np.einsum("di,di->i", columns, columns))  # [I]
    if not lengths[item]:
        problem = f"its vector {'of the graph' if way == GRAPH else 'of its text'} is zero: nothing is known of it"
        others = _ways_that_know(index, item, but=way)
        hint = f"it can be asked by {' or '.join(others)}" if others else None
        raise InputError(problem, location=_named(index, item), hint=hint)
    products: NDArray[np.float32] = columns[:, item] @ columns  # [I]
    return np.divide(products, lengths * lengths[item], out=np.zeros_like(products), where=lengths > 0)


def _texts(index: Index) -> NDArray[np.float32] | None:
    """The vectors of the item texts as they lie in their file, [I, D]; None where the run reads none."""
    texts = texts_read(index.artefact)
    if texts is None or not (texts.path / MANIFEST).is_file():
        return None
    path = texts.mapped_file(TEXT_VECTORS)
    vectors: NDArray[np.float32] = tensors_in(path, {"vectors"})["vectors"]
    if vectors.ndim != 2 or len(vectors) > len(index.item_ids):
        raise damaged(path, f"vectors of shape {list(vectors.shape)} for {counted(len(index.item_ids), 'item')}")
    return vectors


def _named(index: Index, item: int) -> str:
    return f"item {index.item_ids[item]}"
