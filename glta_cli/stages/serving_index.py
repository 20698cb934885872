"""Stage `serving-index`: the selected model with everything known before it, as vectors to answer from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from glta_cli.core.tensors import read_tensors
from glta_cli.core.terminal import say
from glta_cli.data.prepared import PreparedDataset
from glta_cli.graph.cold_start import Vectors, with_unmet_foretold
from glta_cli.graph.pretraining import Embeddings
from glta_cli.language.prompt_lengths import longest_user_prompt
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.schema import Recipe
from glta_cli.serving.index import LAYOUT, LanguageScores, write_index
from glta_cli.stages.context import StageContext, read_embeddings
from glta_cli.stages.index import BuildIndex, read_out, rows_read
from glta_cli.stages.parameter_files import ALIGNMENT_PARAMETERS, FULL_PARAMETERS
from glta_cli.stages.propagation import embeddings_on
from glta_cli.stages.refit import names_in_refit, on_everything


class BuildServingIndex(BuildIndex):
    """The index again, for answers instead of figures: no interaction is held back.

    Nothing is trained. The encoder's parameters are propagated over the graph of all interactions, prompts show each
    user's newest items whatever part of the split they are in, and the weights of the fusion are those chosen for the
    index, at the lengths histories have now. Words about users stay those that were written about training items. An
    item nobody met gets the graph vector its text foretells, and the bias of an item like any other.

    With `finetune.refit` encoder, model and words are those of the refit, which has trained on everything known.
    """

    name = "serving-index"
    inputs = (*BuildIndex.inputs, "index")

    def reads(self, recipe: Recipe) -> tuple[str, ...]:
        found = super().reads(recipe)
        return names_in_refit(found) if recipe.finetune.refit else found

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        """All it depends on but its layout is behind the index."""
        return {"layout": LAYOUT}

    def longest_prompt(self, recipe: Recipe, prepared: PreparedDataset, tokenizer: Any, most: int | None) -> int:
        return longest_user_prompt(
            tokenizer, recipe, lambda: prepared.user_ids, prepared.history, rows_read(recipe), most
        )

    def run(self, context: StageContext, state_folder: Path, folder: Path) -> dict[str, Any]:
        if context.recipe.finetune.refit:
            context = on_everything(context)
        prepared, index = context.prepared, context.artefacts["index"]
        history = prepared.history()
        graph, aligned, propagated = served_embeddings(context, history)
        language = read_out(context, aligned, history)
        language.bias = biases(context, language.bias, prepared.item_count)
        write_known(folder, language, graph, prepared, history)
        counted = {name: index.details[name] for name in ("dataset", "users", "items", "encoder", "readout", "fusion")}
        trained = {"trained": len(context.train), "propagated": propagated}
        return counted | known_details(prepared, history) | trained


def write_known(
    folder: Path, language: LanguageScores, graph: Embeddings, prepared: PreparedDataset, history: Interactions
) -> None:
    """Write an index of everything known; `history` are all interactions of `prepared`."""
    write_index(
        folder,
        language,
        graph.users,
        graph.items,
        history.counts,
        history,
        seen=prepared.seen(),
        delisted=np.flatnonzero(prepared.delisted),
        user_ids=prepared.user_ids,
        item_ids=prepared.item_ids,
        titles=prepared.titles,
    )


def known_details(prepared: PreparedDataset, history: Interactions) -> dict[str, Any]:
    """What an answer says of what it is made from: how many interactions, and the day of the newest or None."""
    return {"interactions": len(history), "newest": prepared.newest, "unmet": int((~met_items(history)).sum())}


def served_embeddings(
    context: StageContext, history: Interactions, texts: Vectors | None = None
) -> tuple[Embeddings, Embeddings, bool]:
    """The encoder's vectors on the graph of all interactions, and whether it could be propagated over that.

    Args:
        texts: vectors of what is written about the items by now, [I, D]; None takes those of the training.

    Returns:
        Those the graph's own ranking is made of, those behind the language model's tokens, and false where the
        artefact is of 0.1, which kept no parameters: then they are those of the training graph, and a line says so.
    """
    encoder = context.artefacts["pretrain-graph"]
    if not encoder.has(FULL_PARAMETERS):
        say(
            "[yellow]note[/]: this encoder was trained by 0.1, which kept no parameters: prompts and histories take in "
            "all interactions, the vectors stay those of the training graph"
        )
        return read_embeddings(encoder), context.embeddings(serving=True), False
    full = _with_cold_items(context, FULL_PARAMETERS, history, texts)
    own = encoder.has(ALIGNMENT_PARAMETERS)
    return full, _with_cold_items(context, ALIGNMENT_PARAMETERS, history, texts) if own else full, True


def biases(context: StageContext, trained: Vectors, count: int) -> Vectors:
    """The head's biases of all `count` items, in which items no training met have the mean of the others.

    A bias stands for how many want an item whoever they are. Of an item without a training interaction that is not
    known: what the head learnt of it, or its log of nothing, says that it was new or never shown, and would keep it out
    of every answer whatever its text says.

    Args:
        trained: of the items a training knew, [I] with I at most `count`.
    """
    met = np.bincount(context.train.items, minlength=len(trained)) > 0
    result = np.full(count, trained[met].mean(), dtype=np.float32)
    result[: len(trained)][met] = trained[met]
    return result


def met_items(history: Interactions) -> np.ndarray:
    """Which items anybody met, bool [I]."""
    met: np.ndarray = np.bincount(history.items, minlength=history.item_count) > 0
    return met


def _with_cold_items(
    context: StageContext, parameters: str, history: Interactions, texts: Vectors | None
) -> Embeddings:
    found = embeddings_on(context, history, parameters=parameters, texts=texts)
    met = met_items(history)
    if met.all() or not learns_items(context, parameters):
        return found
    if texts is None and "encode-items" in context.artefacts:
        texts = context.text_vectors()
    return Embeddings(found.users, with_unmet_foretold(found.items, texts, met))


def learns_items(context: StageContext, parameters: str) -> bool:
    """Whether an encoder learns something of each item by itself; one that reads its text says something of all."""
    stored = read_tensors(context.artefacts["pretrain-graph"].file(parameters))
    items, users = context.prepared.item_count, context.prepared.user_count
    return any(tensor.ndim and len(tensor) in (items, users + items) for tensor in stored.values())
