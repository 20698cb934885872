"""What a run read with while it was trained, loaded when a question first needs it: for new people, and for wishes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.errors import BusyError, InputError
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.fused_terms import ENCODER, LANGUAGE
from glta_cli.serving.guests import PeopleRead
from glta_cli.serving.served_row import ServedRow
from glta_cli.serving.similar import no_texts, texts_read
from glta_cli.stages.lineage import SERVING
from glta_cli.workspace.artefact import Artefact
from glta_cli.workspace.workspace import Workspace

if TYPE_CHECKING:
    from glta_cli.stages.deep_reading import DeepReader
    from glta_cli.stages.pipeline import Pipeline
    from glta_cli.stages.wishes import WishReader


class Readers:
    """The trained models of a run, each loaded once and kept.

    Args:
        run: its name.
        artefact: the index it answers from.
        device: torch's name for where to compute; None for the fastest there is.
        made_by: what has just made the index, where that is no run of that name as it was published: asked with other
            settings, a run stays as it is.
    """

    def __init__(
        self, run: str, artefact: Artefact, device: str | None = None, *, made_by: Pipeline | None = None
    ) -> None:
        self._run, self._artefact, self._device, self._made_by = run, artefact, device, made_by

    def people(self, row: ServedRow, guests: Interactions) -> PeopleRead:
        """What they make of histories, [B], as far as the row has use of it.

        Raises:
            InputError: the row has no use of it.
            BusyError: the run was trained again since its index was opened.
            GltaError: something of what was trained is gone.
        """
        encodes = ENCODER in row.terms and self._encodes_histories
        if LANGUAGE not in row.terms and not encodes:
            problem = f"{row.name} takes all it says of somebody from the index, and no model reads for it"
            raise InputError(problem, location="deep", hint="the answer without is the same")
        reader = self._deep
        language = reader.language_rows(guests) if LANGUAGE in row.terms else None
        return PeopleRead(language, reader.graph_vectors(guests) if ENCODER in row.terms else None)

    def likings(self, wishes: Sequence[str]) -> NDArray[np.float32]:
        """How near every item's text is to each of some wishes, float32 [n, I].

        Raises:
            InputError: one says nothing, or the run has read no item texts.
            BusyError, GltaError: as `people`.
        """
        if texts_read(self._artefact) is None:
            # Before a model, and what loads it, is imported.
            raise no_texts(self._artefact, location="wish")
        return self._wishes.scores(wishes)

    @cached_property
    def _encodes_histories(self) -> bool:
        """Whether the encoder reads histories, in order: of others a person's vector is the same at once."""
        from glta_cli.plugin.registry import installed

        name = str(self._artefact.details["encoder"])
        return installed().find("encoder", name).reads_histories()

    @cached_property
    def _pipeline(self) -> Pipeline:
        """What made the index, else the run as it was published."""
        if self._made_by is not None:
            return self._made_by
        from glta_cli.stages.update import published_pipeline

        workspace = Workspace(self._artefact.path.parents[2])
        pipeline, _ = published_pipeline(
            self._run, workspace, self._device, otherwise="has nothing to read with any more"
        )
        made_of = self._artefact.manifest["inputs"]
        for stage, artefact in pipeline.reached():
            if stage not in ("prepare", SERVING) and made_of.get(stage, artefact.fingerprint) != artefact.fingerprint:
                problem = "was trained again after it was opened"
                raise BusyError(problem, location=f"run {self._run}", hint="ask again once it is opened anew")
        return pipeline

    @cached_property
    def _deep(self) -> DeepReader:
        from glta_cli.stages.deep_reading import DeepReader

        return DeepReader.of(self._pipeline, self._artefact)

    @cached_property
    def _wishes(self) -> WishReader:
        from glta_cli.stages.wishes import WishReader

        return WishReader(self._pipeline.context(), self._artefact)
