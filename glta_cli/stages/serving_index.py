"""Stage `serving-index`: the selected model with everything known before it, as vectors to answer from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from glta_cli.core.terminal import say
from glta_cli.data.prepared import PreparedDataset
from glta_cli.graph.pretraining import Embeddings
from glta_cli.language.prompt_lengths import longest_user_prompt
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.schema import Recipe
from glta_cli.serving.index import LAYOUT, LanguageScores, write_index
from glta_cli.stages.cold_nodes import biases as biases
from glta_cli.stages.cold_nodes import met_items as met_items
from glta_cli.stages.cold_nodes import with_cold_nodes, with_texts_foretold
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
        user_ids=prepared.user_ids,
        item_ids=prepared.item_ids,
        titles=prepared.titles,
    )


def known_details(prepared: PreparedDataset, history: Interactions) -> dict[str, Any]:
    """What an answer says of what it is made from: how many interactions, and the day of the newest or None."""
    return {"interactions": len(history), "newest": prepared.newest, "unmet": int((~met_items(history)).sum())}


def served_embeddings(context: StageContext, history: Interactions) -> tuple[Embeddings, Embeddings, bool]:
    """The encoder's vectors on the graph of all interactions, and whether it could be propagated over that.

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
    full = _with_cold_items(context, FULL_PARAMETERS, history)
    own = encoder.has(ALIGNMENT_PARAMETERS)
    return full, _with_cold_items(context, ALIGNMENT_PARAMETERS, history) if own else full, True


def _with_cold_items(context: StageContext, parameters: str, history: Interactions) -> Embeddings:
    found = embeddings_on(context, history, parameters=parameters)
    hides = context.prepared.hides
    if hides == "users" or (hides == "items" and "encode-items" in context.artefacts):
        # What was hidden has no vector of its own, however many interactions of it are known by now.
        return with_cold_nodes(context, found, history, parameters=parameters)
    return Embeddings(found.users, with_texts_foretold(context, found.items, met_items(history), parameters))
