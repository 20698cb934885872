"""Aligned item tokens among the language model's word tokens, seen along their two main directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from glta_cli.core.errors import GltaError
from glta_cli.language.model import load_own_tensors
from glta_cli.stages.context import MODEL, StageContext

MOST_ITEMS = 300
MOST_WORDS = 300
NEAREST = 4
LEAST_LETTERS = 3
MOST_CONSIDERED = 30_000
"""Words, the most frequent ones: half a gigabyte of embeddings at a hidden size of 4096."""

WORD_STARTS = ("Ġ", "▁")  # byte-level BPE, SentencePiece


@dataclass(frozen=True)
class PlacedItem:
    """An item's token in the plane, with the words nearest to it in the whole space, the nearest first."""

    title: str
    x: float
    y: float
    nearest: Sequence[str]


@dataclass(frozen=True)
class PlacedWord:
    word: str
    x: float
    y: float


@dataclass(frozen=True)
class Projection:
    """The plane.

    Attributes:
        items: those with most training interactions, in that order.
        words: frequent ones, and those nearest to the items.
        shares: of the variance of what is shown, along the first and the second axis.
        item_count: of the catalogue.
        word_count: of those among which the nearest were sought.
        whole_words: false where the vocabulary has none, so that its letters stand in for them.
    """

    items: Sequence[PlacedItem]
    words: Sequence[PlacedWord]
    shares: tuple[float, float]
    item_count: int
    word_count: int
    whole_words: bool


def token_projection(context: StageContext) -> Projection:
    """Items' tokens V_i = E_i·W_i + b_i [I, h] among input embeddings of words [n, h], as the prompts of serving.

    Loads the language model.

    Raises:
        GltaError: its vocabulary has not even letters.
    """
    model = context.model(context.embeddings(serving=True), adapters=True)
    load_own_tensors(model, context.artefacts["finetune"].file(MODEL))
    counts = np.bincount(context.train.items, minlength=context.train.item_count)
    shown = np.argsort(-counts, kind="stable")[:MOST_ITEMS]
    token_ids, words, whole = vocabulary_words(model.language_model.tokenizer)
    token_ids, words = token_ids[:MOST_CONSIDERED], words[:MOST_CONSIDERED]
    with torch.inference_mode():
        items = model.item_projector(model.items[torch.from_numpy(shown).to(model.device)])  # [n, h]
        embedded = model.language_model.embed(torch.tensor(token_ids, device=model.device))  # [words, h]
    titles = [context.prepared.titles[item] for item in shown]
    item_tokens, word_tokens = (_as_array(tensor) for tensor in (items, embedded))
    return projection(
        titles, item_tokens, words, word_tokens, item_count=context.prepared.item_count, whole_words=whole
    )


def projection(
    titles: Sequence[str],
    items: NDArray[np.float32],
    words: Sequence[str],
    embedded: NDArray[np.float32],
    *,
    item_count: int,
    whole_words: bool,
) -> Projection:
    """Items [n, h] and a sample of the words [m, h] on the first two principal components of both together.

    Args:
        words: the most frequent first; half of those shown come from there, the others are the items' nearest by
            cosine.
    """
    nearest = nearest_words(items, embedded)  # [n, NEAREST]
    frequent = list(range(min(MOST_WORDS // 2, len(words))))
    # Ranks first: every item's nearest word, then every item's second.
    chosen = list(dict.fromkeys([*frequent, *nearest.T.ravel().tolist()]))[:MOST_WORDS]
    places, shares = principal_plane(np.concatenate([items, embedded[chosen]]))
    return Projection(
        items=[
            PlacedItem(title, float(x), float(y), [words[word] for word in near])
            for title, (x, y), near in zip(titles, places, nearest, strict=False)
        ],
        words=[
            PlacedWord(words[word], float(x), float(y))
            for word, (x, y) in zip(chosen, places[len(items) :], strict=True)
        ],
        shares=shares,
        item_count=item_count,
        word_count=len(words),
        whole_words=whole_words,
    )


def nearest_words(items: NDArray[np.float32], words: NDArray[np.float32]) -> NDArray[np.int64]:
    """The words with the largest cosine to each item, the nearest first: [n, h], [m, h] -> [n, min(NEAREST, m)]."""
    cosine = _unit(items) @ _unit(words).T
    return np.argsort(-cosine, axis=1, kind="stable")[:, :NEAREST]


def principal_plane(points: NDArray[np.float32]) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Coordinates [n, 2] along the first two principal components of points [n, h], and each one's share of variance.

    A component's sign is arbitrary: its largest coordinate is positive here.
    """
    centred = points.astype(np.float64)
    centred -= centred.mean(axis=0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    places = left[:, :2] * singular[:2]
    places *= np.where(places[np.abs(places).argmax(axis=0), [0, 1]] < 0, -1, 1)
    variance = singular**2 / max(float((singular**2).sum()), np.finfo(float).tiny)
    return places, (float(variance[0]), float(variance[1]))


def vocabulary_words(tokenizer: Any) -> tuple[list[int], list[str], bool]:
    """Ids and texts of the tokens that are whole words, the most frequent first; letters where there are none.

    Merges are learnt by frequency, so that lower ids are the more frequent ones.
    """
    count = len(tokenizer)
    tokens = tokenizer.convert_ids_to_tokens(list(range(count)))
    special = set(tokenizer.all_special_ids)
    decoded = tokenizer.batch_decode([[each] for each in range(count)])
    texts = {each: text.strip() for each, text in enumerate(decoded) if each not in special and text.strip().isalpha()}
    whole = {
        each: text
        for each, text in texts.items()
        if len(text) >= LEAST_LETTERS and str(tokens[each]).startswith(WORD_STARTS)
    }
    found = whole or texts
    if not found:
        raise GltaError("no token of the vocabulary is made of letters")
    # "the" and "The" would lie side by side.
    distinct: dict[str, int] = {}
    for each, text in found.items():
        distinct.setdefault(text.casefold() if whole else text, each)
    return list(distinct.values()), [found[each] for each in distinct.values()], bool(whole)


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(norms, np.finfo(np.float32).tiny)


def _as_array(tensor: torch.Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.float().cpu().numpy()
    return array
