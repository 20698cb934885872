"""Stage `serving-index`: the selected terms with everything known before them, to answer from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from glta_cli.core.terminal import say
from glta_cli.data.prepared import PreparedDataset
from glta_cli.graph.cold_start import Vectors, user_map
from glta_cli.graph.pretraining import Embeddings
from glta_cli.language.prompt_lengths import longest_user_prompt
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.fused_terms import ENCODER, LANGUAGE, LINEAR, terms_of
from glta_cli.recipe.schema import Recipe
from glta_cli.serving.index import SERVING_LAYOUT, Index, LanguageScores
from glta_cli.serving.index_file import share_item_columns, share_linear_term, write_index
from glta_cli.serving.linear_term import LINEAR as LINEAR_FILE
from glta_cli.serving.linear_term import read_linear_term, write_linear_term
from glta_cli.serving.log_events import DETAIL as EVENTS
from glta_cli.serving.log_events import kept_of_events
from glta_cli.serving.served_row import SERVED_DETAILS
from glta_cli.stages.cold_nodes import biases as biases
from glta_cli.stages.cold_nodes import met_items as met_items
from glta_cli.stages.cold_nodes import with_cold_nodes, with_texts_foretold
from glta_cli.stages.context import StageContext, read_embeddings
from glta_cli.stages.grown_linear import grown_linear
from glta_cli.stages.index import FIT_LINEAR, BuildIndex
from glta_cli.stages.parameter_files import ALIGNMENT_PARAMETERS, FULL_PARAMETERS
from glta_cli.stages.propagation import embeddings_on
from glta_cli.stages.read_out import read_out, rows_read
from glta_cli.stages.refit import names_in_refit, on_everything
from glta_cli.workspace.artefact import Artefact


class BuildServingIndex(BuildIndex):
    """The index again, for answers instead of figures: no interaction is held back.

    Nothing is trained. It holds the terms that validation chose, with the weights chosen then, at the lengths histories
    have now. The encoder's parameters are propagated over the graph of all interactions, a linear term scores by all of
    a user's items, and prompts show each user's newest items whatever part of the split they are in. Words about users
    stay those that were written about training items. An item nobody met gets the graph vector its text foretells, and
    the bias of an item like any other.

    With `finetune.refit` terms and words are those of the refit, which has trained on everything known.
    """

    name = "serving-index"
    inputs = (*BuildIndex.inputs, "index")

    def reads(self, recipe: Recipe) -> tuple[str, ...]:
        found = (*super().reads(recipe), "index")
        return names_in_refit(found) if recipe.finetune.refit else found

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        """All it depends on but its layout is behind the index."""
        return {"layout": SERVING_LAYOUT}

    def longest_prompt(self, recipe: Recipe, prepared: PreparedDataset, tokenizer: Any, most: int | None) -> int:
        if LANGUAGE not in terms_of(recipe):
            return 0
        return longest_user_prompt(
            tokenizer, recipe, lambda: prepared.user_ids, prepared.history, rows_read(recipe), most
        )

    def run(self, context: StageContext, state_folder: Path, folder: Path) -> dict[str, Any]:
        if context.recipe.finetune.refit:
            context = on_everything(context)
        prepared, index = context.prepared, context.artefacts["index"]
        history, terms = prepared.history(), answering_terms(index)
        graph = language = propagated = None
        if {ENCODER, LANGUAGE} & set(terms):
            graph, aligned, propagated = served_embeddings(context, history)
            if LANGUAGE in terms:
                language = read_out(context, aligned, history)
                language.bias = biases(context, language.bias, prepared.item_count)
        if LINEAR in terms:
            texts = context.text_vectors() if "encode-items" in context.artefacts else None
            write_served_linear(context, prepared.item_count, texts, folder)
        write_known(folder, terms, language, graph, prepared, history)
        sizes = {name: index.details[name] for name in ("dataset", "users", "items")}
        read = {} if LANGUAGE in terms else {"read_out": 0}
        known = {**known_details(prepared, history), "trained": len(context.train), "propagated": propagated}
        return {**sizes, **kept_details(index, terms), **read, **known}


def answering_terms(index: Artefact) -> tuple[str, ...]:
    """The terms an index that answers holds, made from one that was measured or that answered before.

    Those that take part, and the encoder and the linear term beside them, which cost no reading of users: who asks for
    another row than the served one gets it.
    """
    found = Index(index)
    return tuple(term for term in found.terms if term != LANGUAGE or term in found.row.terms or of_old(index))


def of_old(index: Artefact) -> bool:
    """Whether an index is of the time before there was a choice: it holds both of its terms, whatever takes part."""
    return "terms" not in index.manifest["details"]


def kept_details(index: Artefact, terms: tuple[str, ...]) -> dict[str, Any]:
    """What the manifest of an index that answers says as the one it was made from does."""
    said = index.manifest["details"]
    kept = {name: index.details[name] for name in ("encoder", "fusion")}
    if LANGUAGE in terms:
        kept["readout"] = index.details["readout"]
    if "terms" in said:
        kept |= {name: index.details[name] for name in SERVED_DETAILS}
        kept["terms"] = {term: said["terms"][term] for term in terms}
        kept |= {name: said[name] for name in ("backbone", "recency") if name in said}
    return kept


def write_served_linear(context: StageContext, item_count: int, texts: Vectors | None, folder: Path) -> None:
    """Write the weights of the linear term for a catalogue, in which those of items no fit has met are foretold.

    Args:
        texts: vectors of all item texts, [I, D]; None where there are none.
    """
    artefact = context.artefacts[FIT_LINEAR]
    fitted = read_linear_term(artefact)
    grown = grown_linear(fitted, item_count, texts)
    if grown is fitted:
        share_linear_term(artefact.mapped_file(LINEAR_FILE), folder)
    else:
        write_linear_term(folder, grown)


def write_known(
    folder: Path,
    terms: tuple[str, ...],
    language: LanguageScores | None,
    graph: Embeddings | None,
    prepared: PreparedDataset,
    history: Interactions,
    trained: int | None = None,
) -> None:
    """Write an index of everything known, columns of its items among it, but not the weights of a linear term.

    Args:
        trained: how many users a training knew, who are the first; None for all.
        history: all interactions of `prepared`.
    """
    held = graph if ENCODER in terms else None
    write_index(
        folder,
        language,
        None if held is None else (held.users, held.items),
        history.counts,
        history,
        linear=history if LINEAR in terms else None,
        seen=prepared.seen(),
        delisted=np.flatnonzero(prepared.delisted),
        user_map=None if held is None else user_map(held.users[:trained], held.items, history),
        user_ids=prepared.user_ids,
        item_ids=prepared.item_ids,
        titles=prepared.titles,
    )
    share_item_columns(prepared.artefact, folder)


def known_details(prepared: PreparedDataset, history: Interactions) -> dict[str, Any]:
    """What an answer says of what it is made from: how many interactions, and the day of the newest or None.

    Where the log has events also what they count for: for histories of people who are in no file.
    """
    events = kept_of_events(prepared.artefact.details)
    known = {"interactions": len(history), "newest": prepared.newest, "unmet": int((~met_items(history)).sum())}
    return known if events is None else {**known, EVENTS: events}


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


def _with_cold_items(
    context: StageContext, parameters: str, history: Interactions, texts: Vectors | None
) -> Embeddings:
    found = embeddings_on(context, history, parameters=parameters, texts=texts)
    hides = context.prepared.hides
    if hides == "users" or (hides == "items" and "encode-items" in context.artefacts):
        # What was hidden has no vector of its own, however many interactions of it are known by now.
        return with_cold_nodes(context, found, history, parameters=parameters, texts=texts)
    return Embeddings(found.users, with_texts_foretold(context, found.items, met_items(history), parameters, texts))
