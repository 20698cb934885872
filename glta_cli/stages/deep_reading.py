"""People who are in no file, read by a finished run's language model as a new user is after `glta update`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from glta_cli.core.terminal import say
from glta_cli.data.prepared import PreparedDataset
from glta_cli.graph.cold_start import Vectors, users_of
from glta_cli.graph.pretraining import Embeddings, embeddings_of
from glta_cli.language.model import NodeTables
from glta_cli.language.readout import UserPrompts, encode_users, recommendation_template
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.fused_terms import LANGUAGE
from glta_cli.stages.cold_nodes import aligned_parameters
from glta_cli.stages.context import FULL_PARAMETERS, StageContext
from glta_cli.stages.grown_nodes import GrownNodes, among_known, encodes_users, take_in, text_vectors_now
from glta_cli.stages.loading_time import tell_loading
from glta_cli.stages.pipeline import Pipeline
from glta_cli.stages.propagation import saved_parameters, trained_encoder
from glta_cli.stages.read_out import fine_tuned, rows_read
from glta_cli.stages.refit import on_everything
from glta_cli.stages.serving_index import answering_terms
from glta_cli.workspace.artefact import Artefact


class DeepReader:
    """The trained parts of a finished run, loaded once, to read histories of people who are in no file.

    What it makes of a history is what an index brought up to date with such a user holds of it: the user's token is
    projected from a vector that follows from the items, or that the encoder reads where it reads histories; the prompt
    shows the newest items, and no words, which nobody wrote. Nobody is taken in by being read: of an item that came
    after the training an update learns from who met it, this person among them, and a reading does not.

    Args:
        context: of the stages that were trained; of a refit's where the run has one (`refit.on_everything`).
        index: what the run answers from, whose users and items are known.

    Raises:
        GltaError: the encoder was published by 0.1, and reads histories: it kept no parameters.
    """

    def __init__(self, context: StageContext, index: Artefact) -> None:
        self._context, self._lock = context, Lock()
        grown = PreparedDataset(Artefact(index.parent("prepare")))
        texts = text_vectors_now(context, grown)
        nodes = GrownNodes.of(context, grown, texts)
        self._of_graph = self._of_tokens = _Newcomers(context, nodes, nodes.full, FULL_PARAMETERS)
        self.reads_language = LANGUAGE in answering_terms(index)
        if not self.reads_language:
            return
        aligned = nodes.everyone(nodes.aligned)
        if nodes.aligned is not nodes.full:
            self._of_tokens = _Newcomers(context, nodes, nodes.aligned, aligned_parameters(context))
        tell_loading(context.recipe, "to read with")
        self._model = fine_tuned(context, nodes.aligned).eval()
        take_in(context, self._model, aligned, grown.item_count, texts)
        tokenizer = self._model.language_model.tokenizer
        # Every prompt starts with it: computed once, however many people are read.
        self._model.share_prefix(recommendation_template(tokenizer, context.recipe.prompts).literals[0])
        if not context.recipe.finetune.user_token:
            say("prompts of this run hold user ids in words: a person without an id is read with none")

    @classmethod
    def of(cls, pipeline: Pipeline, index: Artefact) -> DeepReader:
        """That of a finished run.

        Args:
            pipeline: of the run, as published (`Pipeline.answer_from`).
        """
        context: StageContext = pipeline.context()
        return cls(on_everything(context) if pipeline.recipe.finetune.refit else context, index)

    def graph_vectors(self, people: Interactions) -> Vectors:
        """Vectors of people for the graph's own ranking, [B, d].

        Args:
            people: their histories, over the items of the index, oldest first.
        """
        with self._lock:
            return self._of_graph.vectors(people)

    def language_rows(
        self,
        people: Interactions,
        names: Sequence[str] | None = None,
        advance: Callable[[int], object] = lambda count: None,
    ) -> NDArray[np.float32]:
        """The language model's queries of people, as many as the run reads of each user: [B, R, D].

        Args:
            people: as those of `graph_vectors`; at least one.
            names: ids of the people, [B], for a run whose prompts hold them in words (`finetune.user_token=false`);
                None for people without any. Other prompts hold none.
            advance: called with the number of people done after each batch.
        """
        assert self.reads_language, "the index answers without its language model"
        recipe, count = self._context.recipe, people.user_count
        nothing = [""] * count
        with self._lock:
            model = self._model
            # The nodes of these prompts are these people, and behind them the items.
            model.use(NodeTables(torch.from_numpy(self._of_tokens.vectors(people)), model.items, tied=None))
            prompts = UserPrompts(
                model.language_model.tokenizer, names or nothing, nothing, nothing, recipe.finetune, recipe.prompts
            )
            return encode_users(
                model,
                prompts,
                people,
                np.arange(count),
                rows=rows_read(recipe),
                batch_size=recipe.evaluate.batch_size,
                autoregressive=recipe.finetune.readout == "autoregressive",
                advance=advance,
            )


class _Newcomers:
    """Vectors of people no training has met, by one set of an encoder's parameters.

    Args:
        known: the vectors these parameters give those a training knew.
    """

    def __init__(self, context: StageContext, nodes: GrownNodes, known: Embeddings, parameters: str) -> None:
        self._items = nodes.items_foretold(known)
        self._map = nodes.map_of_users(known, self._items)
        self._settings = context.recipe.graph
        self._read_by: tuple[nn.Module, int] | None = None
        if encodes_users(context):
            told = None if nodes.texts is None else nodes.texts[: nodes.known.item_count]
            saved = saved_parameters(context, parameters, told)
            self._read_by = trained_encoder(context, saved, nodes.known, told), nodes.known.item_count

    def vectors(self, people: Interactions) -> Vectors:
        """Of people by their histories, [B, d]."""
        found = users_of(self._map, self._items, people)
        if self._read_by is not None:
            encoder, items = self._read_by
            known = among_known(people, people.user_count, items)
            read = np.flatnonzero(known.counts)
            if len(read):
                found[read] = embeddings_of(encoder, self._settings, known).users[read]
        return found
