"""What a published run is: its index, its items, its rows, and how good they are."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from glta_cli.answers.measured import measured, sum_not_served
from glta_cli.answers.published import required_index
from glta_cli.answers.run_html import as_html
from glta_cli.core.counts import counted
from glta_cli.core.errors import GltaError, InputError
from glta_cli.recipe.fused_terms import ENCODER
from glta_cli.serving.catalogue import Catalogue
from glta_cli.serving.index import Index
from glta_cli.serving.item_filter import ItemColumns
from glta_cli.serving.recommender import AskedRun, known_to, reading
from glta_cli.serving.rows import rows_held
from glta_cli.workspace.artefact import Artefact

if TYPE_CHECKING:
    import polars as pl


class PublishedRun:
    """A run by what it published, mapped into memory; nothing of it is read before it is asked for.

    Attributes:
        name: of the run.
        dataset: what it was prepared from.
        artefact: the index it answers from.
    """

    def __init__(self, asked: AskedRun, artefact: Artefact) -> None:
        self.name, self.dataset = asked.name, asked.dataset
        self.artefact = artefact
        self._asked = asked

    @classmethod
    def load(cls, name: str | None = None, data_dir: str | Path | None = None) -> Self:
        """The run of that name, or the latest finished one.

        Args:
            data_dir: where datasets and runs live; None for GLTA_DATA_DIR, else the usual place.

        Raises:
            InputError: there is none, or it has published nothing to answer from.
            GltaError: its index is damaged.
        """
        return cls(*required_index(name, None if data_dir is None else Path(data_dir)))

    @cached_property
    def index(self) -> Index:
        """The index it answers from."""
        return Index(self.artefact)

    @cached_property
    def catalogue(self) -> Catalogue:
        """Its items by id and title."""
        return Catalogue(self.index)

    @cached_property
    def item_columns(self) -> ItemColumns:
        """The further columns of its items, to choose by."""
        return ItemColumns(self.index)

    @property
    def rows(self) -> list[str]:
        """The names of the rows it can rank by, the one that validation found best first."""
        return list(rows_held(self.index))

    @cached_property
    def known(self) -> dict[str, Any]:
        """What it answers from: `interactions`, their number, `newest`, the day of the last, and `trained`."""
        return known_to(self.artefact)

    def vectors(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The encoder's vectors: of users, a frame of `user` and `vector`, and of items, `item`, `title` and `vector`.

        Their inner products are the encoder's own scores; `glta export` makes such of what is served.

        Raises:
            InputError: the index holds no vectors of the encoder.
        """
        import polars as pl

        if ENCODER not in self.index.terms:
            problem = "no encoder takes part in it"
            raise InputError(problem, location=f"run {self.name}", hint="glta export makes vectors of what is served")
        with reading(self.artefact):
            users, columns = self.index.graph_vectors()
            width = pl.Array(pl.Float32, users.shape[1])
            ids = self.index.user_ids.tolist()
            catalogue = {"item": self.catalogue.ids, "title": self.catalogue.titles}
            items = np.ascontiguousarray(columns.T)
        return (
            pl.DataFrame({"user": ids, "vector": pl.Series(np.asarray(users), dtype=width)}),
            pl.DataFrame({**catalogue, "vector": pl.Series(items, dtype=width)}),
        )

    def metrics(self) -> pl.DataFrame:
        """How good each row is: a frame of `row`, `on` and the metrics (`measured`)."""
        import polars as pl

        return pl.DataFrame(self.measured(), infer_schema_length=None)

    def measured(self) -> list[dict[str, Any]]:
        """The same as plain values."""
        return measured(self.name, self.artefact)

    @property
    def not_served(self) -> str | None:
        """Why one term answers although `measured` has a better figure for the sum; None where that is not so."""
        return sum_not_served(self.artefact)

    def __repr__(self) -> str:
        try:
            with reading(self.artefact):
                by = f"by {self.index.row.sentence()}"
        except GltaError:
            by = "its index is damaged"  # whoever asks it something is told more
        return f"<Run {self.name} (dataset {self.dataset}), {by}>"

    def _repr_html_(self) -> str:
        """The run as a notebook shows it."""
        said = [f"dataset {self.dataset}", f"by {self.index.row.sentence()}"]
        interactions, newest = self.known["interactions"], self.known["newest"]
        if interactions is not None:
            said.append(f"from {counted(interactions, 'interaction')}{f' until {newest}' if newest else ''}")
        if self.not_served is not None:
            said.append(self.not_served)
        return as_html(self.name, said, self.measured())
