"""Stage `index`: what the trained terms know of every user and item, as vectors and weights to rank by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glta_cli.data.prepared import PreparedDataset
from glta_cli.graph.pretraining import Embeddings
from glta_cli.language.prompt_lengths import longest_user_prompt
from glta_cli.plugin.scorer import Scorer
from glta_cli.recipe.fused_terms import ENCODER, ENCODER_AND_LANGUAGE, LANGUAGE, LINEAR, terms_of
from glta_cli.recipe.schema import Recipe
from glta_cli.recipe.selection import encoder_dimension, head_takes_texts
from glta_cli.serving.fusion import choose_weights, fusion_users
from glta_cli.serving.index import LAYOUT, PAIR_LAYOUT, LanguageScores
from glta_cli.serving.index_file import share_item_columns, share_linear_term, write_index
from glta_cli.serving.linear_term import LINEAR as LINEAR_FILE
from glta_cli.serving.linear_term import item_weights, linear_scorer
from glta_cli.serving.served_row import LANGUAGE_ROW, LINEAR_ROW, alone_details, chosen_details
from glta_cli.serving.term_weights import choose_terms
from glta_cli.stages.cold_nodes import aligned_parameters, fair_to_unmet, foretells_hidden, with_cold_nodes
from glta_cli.stages.context import StageContext, read_embeddings
from glta_cli.stages.known_at_test import known_at_test
from glta_cli.stages.read_out import read_out, rows_read
from glta_cli.stages.stage import FLOAT, ModelStage

FIT_LINEAR = "fit-linear"


class BuildIndex(ModelStage):
    """Read every user out of the model once, choose the row that is served on validation, and publish its terms."""

    name = "index"
    inputs: tuple[str, ...] = (
        "prepare",
        "pretrain-graph",
        "encode-items",
        "align",
        "describe-users",
        "finetune",
        FIT_LINEAR,
    )
    shared = True
    shortening = ("finetune.context_items", "interests.new_tokens", "finetune.positions")

    def reads(self, recipe: Recipe) -> tuple[str, ...]:
        terms = terms_of(recipe)
        always = ("prepare", "pretrain-graph")
        found = super().reads(recipe) if LANGUAGE in terms else tuple(name for name in self.inputs if name in always)
        without = [name for name in found if name != FIT_LINEAR]
        if foretells_hidden(recipe) and "encode-items" not in without:
            without.append("encode-items")
        return (*without, FIT_LINEAR) if LINEAR in terms else tuple(without)

    def settings(self, recipe: Recipe) -> dict[str, Any]:
        terms, read = terms_of(recipe), {}
        if LANGUAGE in terms:
            read = {"readout": recipe.finetune.readout, "positions": recipe.finetune.positions}
        chosen = {"fusion": ENCODER in terms} if of_pair(terms) else {"terms": list(terms)}
        layout = PAIR_LAYOUT if of_pair(terms) else LAYOUT
        return {"layout": layout, **read, **chosen, **known_at_test(recipe)}

    def longest_prompt(self, recipe: Recipe, prepared: PreparedDataset, tokenizer: Any, most: int | None) -> int:
        if LANGUAGE not in terms_of(recipe):
            return 0
        return longest_user_prompt(
            tokenizer, recipe, lambda: prepared.user_ids, prepared.histories_at_test, rows_read(recipe), most
        )

    def bytes_to_write(self, context: StageContext) -> int:
        recipe, prepared = context.recipe, context.prepared
        users, items, terms = prepared.user_count, prepared.item_count, terms_of(recipe)
        graph = encoder_dimension(recipe)
        language = 0  # that of a linear head is the language model's, which is not read for this
        if recipe.finetune.head == "tied":
            texts = "encode-items" in context.artefacts and head_takes_texts(recipe)
            language = graph + (int(context.artefacts["encode-items"].details["dimensions"]) if texts else 0)
        floats = (users * rows_read(recipe) + items) * language if LANGUAGE in terms else 0
        # The weights of a linear term are not written a second time.
        return FLOAT * (floats + ((users + items) * graph if ENCODER in terms or of_pair(terms) else 0))

    def run(self, context: StageContext, state_folder: Path, folder: Path) -> dict[str, Any]:
        recipe, prepared = context.recipe, context.prepared
        terms = terms_of(recipe)
        held = ENCODER_AND_LANGUAGE if of_pair(terms) else terms
        histories = context.histories_at_test
        encoder, aligned = context.artefacts["pretrain-graph"], aligned_parameters(context)
        graph = with_cold_nodes(context, read_embeddings(encoder, at_test=True), histories)
        language, told = None, {}
        if LANGUAGE in held:
            at_test = with_cold_nodes(context, context.embeddings_at_test(), histories, parameters=aligned)
            language = read_out(context, at_test, histories)
            told = fair_to_unmet(context, language)
        chosen = self._chosen(context, terms, held, graph, language)
        write_index(
            folder,
            language,
            (graph.users, graph.items) if ENCODER in held else None,
            histories.counts,
            prepared.history(),
            linear=histories if LINEAR in held else None,
            seen=prepared.seen(),
            user_ids=prepared.user_ids,
            item_ids=prepared.item_ids,
            titles=prepared.titles,
        )
        share_item_columns(prepared.artefact, folder)
        if LINEAR in held:
            share_linear_term(context.artefacts[FIT_LINEAR].mapped_file(LINEAR_FILE), folder)
        sizes = {"dataset": prepared.name, "users": prepared.user_count, "items": prepared.item_count}
        readout = {"readout": recipe.finetune.readout} if LANGUAGE in held else {}
        return {**sizes, "encoder": recipe.graph.encoder, **readout, **chosen, **told}

    def _chosen(
        self,
        context: StageContext,
        terms: tuple[str, ...],
        held: tuple[str, ...],
        graph: Embeddings,
        language: LanguageScores | None,
    ) -> dict[str, Any]:
        """What the manifest says of the row that is served, chosen on validation where there is a choice.

        Args:
            graph, language: by the histories at test time.
        """
        recipe = context.recipe
        if terms == (LANGUAGE,):
            return {"fusion": None}
        if of_pair(terms):
            scorers = _by_histories_at_validation(context, held, graph, language)
            known = context.prepared.histories_at_validation()
            weights = choose_weights(scorers[ENCODER], scorers[LANGUAGE], known, context.validation, seed=recipe.seed)
            return {"fusion": {"starts": weights.starts, "weights": weights.weights}}
        rows = rows_of(context, held)
        about: dict[str, Any] = {"terms": rows}
        if LANGUAGE in held:
            about["backbone"] = recipe.backbone.name
        if LINEAR in held:
            about["recency"] = float(context.artefacts[FIT_LINEAR].details["recency"])
        if len(held) == 1:
            return {**about, **alone_details(held[0], rows)}
        scorers = _by_histories_at_validation(context, held, graph, language)
        known = context.prepared.histories_at_validation()
        chosen = choose_terms(scorers, known, context.validation, seed=recipe.seed)
        return {**about, **chosen_details(chosen, rows)}


def of_pair(terms: tuple[str, ...]) -> bool:
    """Whether these are the encoder and the language model, or that alone: the index of 0.1, and nothing to choose."""
    return terms in (ENCODER_AND_LANGUAGE, (LANGUAGE,))


def rows_of(context: StageContext, terms: tuple[str, ...]) -> dict[str, str]:
    """What each term is called as a row of a report."""
    names = {ENCODER: context.recipe.graph.encoder, LANGUAGE: LANGUAGE_ROW}
    if LINEAR in terms:
        baseline = str(context.artefacts[FIT_LINEAR].details["row"])
        names[LINEAR] = LINEAR_ROW if baseline == names[ENCODER] else baseline
    return {term: names[term] for term in terms}


def _by_histories_at_validation(
    context: StageContext, terms: tuple[str, ...], graph: Embeddings, language: LanguageScores | None
) -> Mapping[str, Scorer]:
    """Each term's scores by the histories then: where those at test time are others, users are read out again.

    Args:
        graph, language: by the histories at test time.
    """
    found: dict[str, Scorer] = {}
    known, later = context.prepared.histories_at_validation(), context.prepared.histories_differ
    if LINEAR in terms:
        artefact = context.artefacts[FIT_LINEAR]
        weights, recency = item_weights(artefact.mapped_file(LINEAR_FILE)), float(artefact.details["recency"])
        found[LINEAR] = linear_scorer(weights, recency, known)
    if ENCODER in terms:
        if later:
            graph = with_cold_nodes(context, read_embeddings(context.artefacts["pretrain-graph"]), known)
        found[ENCODER] = graph.scorer()
    if language is not None:
        if later:
            users = fusion_users(context.validation, seed=context.recipe.seed)
            parameters = aligned_parameters(context)
            aligned = with_cold_nodes(context, context.embeddings(serving=True), known, parameters=parameters)
            language = read_out(context, aligned, known, users)
        found[LANGUAGE] = language.scorer(known)
    return found
