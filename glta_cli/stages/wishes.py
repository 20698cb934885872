"""Wishes in words: how near each item's text is to what somebody asks for, in the space of the run's text vectors."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.counts import counted
from glta_cli.core.errors import InputError
from glta_cli.core.terminal import say
from glta_cli.data.prepared import PreparedDataset
from glta_cli.language.text_vectors import encode_texts, sentence_encoder
from glta_cli.recipe.selection import text_reader
from glta_cli.serving.similar import no_texts
from glta_cli.stages.backbone import backbone_of
from glta_cli.stages.context import StageContext
from glta_cli.stages.encode_items import whitening_now
from glta_cli.stages.grown_nodes import text_vectors_now
from glta_cli.stages.loading_time import tell_loading
from glta_cli.workspace.artefact import Artefact


class WishReader:
    """What a run reads item texts with, loaded once, to read wishes with.

    A wish is read like an item's text: by the same encoder, whitened by what the item texts were whitened by. What it
    says is written nowhere.

    Args:
        context: of the stages that were trained.
        index: what the run answers from, whose items are ranked, new ones too.

    Raises:
        InputError: the run has no vectors of item texts, or was given shuffled ones.
    """

    def __init__(self, context: StageContext, index: Artefact) -> None:
        require_texts_read(context, index)
        self._settings = context.recipe.text
        grown = PreparedDataset(Artefact(index.parent("prepare")))
        texts = text_vectors_now(context, grown)
        assert texts is not None, "a run without vectors of item texts is refused above"
        # Nothing is written about them: neither near to any wish nor far from it.
        texts[~grown.described] = 0
        self._items, self._whitening = texts, whitening_now(context)
        reader = text_reader(context.recipe)
        tell_loading(reader, "to read the wish with")
        self._model = backbone_of(reader).load(context.device)
        self._lock = Lock()

    @property
    def tokenizer(self) -> Any:
        """Of the encoder."""
        return self._model.tokenizer

    def scores(self, wishes: Sequence[str]) -> NDArray[np.float32]:
        """The cosine of each wish with every item's text, float32 [n, I]; 0 for items nothing is written about.

        A line says how much of a wish is read that is longer than what is read of an item's text.

        Raises:
            InputError: a wish has no words.
        """
        for wish in wishes:
            if not wish.strip():
                raise InputError("says nothing", location="wish", hint="say in words what is wanted")
        with self._lock:
            self._tell_cut(wishes)
            plain = encode_texts(self._model, wishes, self._settings, bar_called=("read wishes", "wishes"))  # [n, h]
        return self._whitening.apply(plain) @ self._items.T

    def _tell_cut(self, wishes: Sequence[str]) -> None:
        most = self._settings.tokens
        if any(len(ids) > most for ids in sentence_encoder(self._model).token_ids(wishes, most + 1)):
            say(f"of a long wish the first {counted(most, 'token')} are read, as of an item's text (text.tokens)")


def require_texts_read(context: StageContext, index: Artefact) -> None:
    """Raise `InputError` where a run has nothing to hold a wish against."""
    if "encode-items" not in context.artefacts:
        raise no_texts(index, location="wish")
    if context.recipe.text.shuffled:
        problem = "this run was given shuffled texts, each of another item than it is held to be of"
        raise InputError(problem, location="wish", hint="ask a run without text.shuffled")
