"""The published index: all that is needed to rank the catalogue for any user.

One safetensors file, mapped into memory, holds vectors whose products are scores: an answer for one user reads that
user's rows and the item vectors. The weights of a linear term lie in a file beside it, of which the rows of the user's
items are read.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from glta_cli.core.tensors import damaged
from glta_cli.graph.user_map import UserMap
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.scorer import Scorer, product_scorer
from glta_cli.recipe.fused_terms import ENCODER, ENCODER_AND_LANGUAGE, LANGUAGE, LINEAR
from glta_cli.serving.diversity import Audiences, vector_similarities
from glta_cli.serving.language_scores import LanguageScores as LanguageScores
from glta_cli.serving.linear_term import LINEAR as LINEAR_FILE
from glta_cli.serving.linear_term import AnyWeights, item_weights, linear_scorer
from glta_cli.serving.log_events import LogEvents, events_of
from glta_cli.serving.mapped_tensors import tensors_in
from glta_cli.serving.served_row import POPULARITY, ServedRow, served_row
from glta_cli.serving.string_column import StringColumn
from glta_cli.serving.user_map_file import stored_user_map
from glta_cli.workspace.artefact import Artefact

LAYOUT: Final = 3
"""Part of the settings of the stage: an index of another layout is built again."""

SERVING_LAYOUT: Final = 4
"""Of an index that answers, which holds the encoder's and the linear term's scores whatever takes part, and the map by
which people who are in no file get a vector."""

PAIR_LAYOUT: Final = 2
"""Of an index of the encoder and the language model alone, as it was before other terms could take part."""

VECTORS = "vectors.safetensors"
TENSORS_OF_TERM = {ENCODER: {"graph_users", "graph_items"}, LANGUAGE: {"rows", "items", "bias"}, LINEAR: set[str]()}
STRINGS = {f"{column}{part}" for column in ("user_ids", "item_ids", "titles") for part in ("", "_offsets")}
DELISTED = "delisted"
TENSORS = {"lengths", "history_indptr", "history_items", "user_order", *STRINGS}
"""Those of every index. Beside them: of each term that takes part, its own; `history_weights` where interactions have
weights; `delisted` where items are in nobody's answers; `linear_indptr`, `linear_items` and `linear_weights` where a
linear term scores by less than the history."""
# Beside them where less than the history is masked.
SEEN_TENSORS = {"seen_indptr", "seen_items"}


def readable(layout: Any) -> bool:
    """Whether this version reads an index of that layout."""
    return layout in (PAIR_LAYOUT, LAYOUT, SERVING_LAYOUT)


class Index:
    """Reads a published index."""

    def __init__(self, artefact: Artefact) -> None:
        self.artefact = artefact

    @cached_property
    def row(self) -> ServedRow:
        """The row it answers from."""
        return served_row(self.artefact.details)

    @property
    def terms(self) -> tuple[str, ...]:
        """The terms it holds: those it answers from and, of one that is measured, those that are rows beside them."""
        # Before there was a choice, both were there whatever took part.
        return tuple(self.artefact.manifest["details"].get("terms", ENCODER_AND_LANGUAGE))

    @cached_property
    def _tensors(self) -> dict[str, NDArray[Any]]:
        required = TENSORS.union(*(TENSORS_OF_TERM[term] for term in self.terms))
        return tensors_in(self.artefact.mapped_file(VECTORS), required)

    @cached_property
    def history(self) -> Interactions:
        """Every known interaction of every user."""
        return self._interactions("history")

    @cached_property
    def seen(self) -> Interactions:
        """What is never recommended again: the history, unless only some of it keeps an item out."""
        return self._interactions("seen") if self._tensors.keys() >= SEEN_TENSORS else self.history

    @cached_property
    def events(self) -> LogEvents:
        """What the events of its log count for."""
        return events_of(self.artefact)

    @property
    def delisted(self) -> NDArray[np.int64]:
        """Items that are in nobody's answers, int64 [n], ascending."""
        return self._tensors.get(DELISTED, np.empty(0, dtype=np.int64))

    def left_out(self, users: NDArray[np.int64]) -> tuple[Interactions, ...]:
        """What is masked for some users [B]: what counts as seen, and as if it was what is in nobody's answers."""
        return (self.seen, *self.delisted_for(users, self.seen.user_count))

    def delisted_for(self, users: NDArray[np.int64], count: int) -> tuple[Interactions, ...]:
        """What is in nobody's answers as if some of `count` users had seen it; nothing where all is listed."""
        delisted = self.delisted
        if not len(delisted):
            return ()
        per_user = np.zeros(count + 1, dtype=np.int64)
        per_user[1:][users] = len(delisted)
        items = np.tile(delisted, int(np.count_nonzero(per_user)))
        return (Interactions(np.cumsum(per_user), items, self.seen.item_count),)

    @property
    def user_ids(self) -> StringColumn:
        """Original user ids, by index."""
        return self._strings("user_ids")

    @property
    def item_ids(self) -> StringColumn:
        """Original item ids, by index."""
        return self._strings("item_ids")

    @property
    def titles(self) -> StringColumn:
        """Item titles, by index; the id where there is no title."""
        return self._strings("titles")

    def user(self, user_id: str) -> int | None:
        """The index of an original user id; None where there is no such user."""
        return self.user_ids.find(user_id, self._tensors["user_order"])

    @property
    def encoder(self) -> str:
        """The name of the graph encoder."""
        return str(self.artefact.details["encoder"])

    def graph_scorer(self) -> Scorer:
        """The graph encoder alone."""
        return product_scorer(self._tensors["graph_users"], self._tensors["graph_items"].T)

    def language_scorer(self, *seen: Interactions) -> Scorer:
        """The language model alone."""
        return self.language_scores(self._tensors["rows"]).scorer(*seen)

    def language_scores(self, rows: NDArray[np.float32]) -> LanguageScores:
        """The language model's term of people whose rows these are, [B, R, D]."""
        return LanguageScores(rows, self._tensors["items"].T, self._tensors["bias"])

    def linear_scorer(self) -> Scorer:
        """The linear term alone, by the histories the index is to rank by."""
        return linear_scorer(*self.item_weights(), self.linear_histories)

    @property
    def linear_histories(self) -> Interactions:
        """The histories the index is to rank by where a linear term ranks."""
        return self._interactions("linear") if "linear_indptr" in self._tensors else self.history

    def similarities(self, items: NDArray[np.int64]) -> NDArray[np.float32]:
        """How alike some items are, [n] -> [n, n]: cosines of the encoder's vectors.

        Where the index holds none, of the language model's; without either, of who met them.
        """
        for term, name in ((ENCODER, "graph_items"), (LANGUAGE, "items")):
            if term in self.terms:
                return vector_similarities(self._tensors[name][:, items].T)
        return self._audiences.similarities(items)

    @cached_property
    def _audiences(self) -> Audiences:
        return Audiences(self.history)

    def popularity(self) -> NDArray[np.float32]:
        """How many met each item, float32 [I]; not to be written to."""
        return self._popularity

    @cached_property
    def _popularity(self) -> NDArray[np.float32]:
        return np.bincount(self.history.items, minlength=self.history.item_count).astype(np.float32)

    @cached_property
    def user_map(self) -> UserMap:
        """How people who are in no file follow from their items."""
        found = stored_user_map(self._tensors)
        if found is None:
            # An index of an earlier version: found as it would have been, which takes torch.
            from glta_cli.graph.cold_start import user_map

            users, columns = self.graph_vectors()
            found = user_map(np.array(users), np.ascontiguousarray(columns.T), self.history)
        return found

    def graph_vectors(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The encoder's vectors of users, [U, d], and of items as columns, [d, I]."""
        return self._tensors["graph_users"], self._tensors["graph_items"]

    def vectors(self, term: str) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]:
        """What the scores of the encoder or the language model are products of.

        Returns:
            Of users, [U, R, D], one query for each row of the list, R = 1 but for a readout of several; of items,
            [D, I]; and the bias that is added, [I], or None.
        """
        tensors = self._tensors
        if term == ENCODER:
            return tensors["graph_users"][:, None], tensors["graph_items"], None
        return tensors["rows"], tensors["items"], tensors["bias"]

    def item_weights(self) -> tuple[AnyWeights, float]:
        """The linear term's weights, and what each newer item makes an older one weigh.

        Raises:
            GltaError: the file is damaged.
        """
        return self._item_weights

    @cached_property
    def _item_weights(self) -> tuple[AnyWeights, float]:
        # Once for all that is asked of this index: of a copied folder every byte is hashed.
        path = self.artefact.mapped_file(LINEAR_FILE)
        weights, items = item_weights(path), self.history.item_count
        if weights.item_count != items:
            raise damaged(path, f"item-item weights for {weights.item_count:,} of a catalogue of {items:,}")
        return weights, float(self.artefact.details["recency"])

    def term_scorer(self, term: str, *seen: Interactions) -> Scorer:
        """One term alone."""
        if term == POPULARITY:
            counts = self.popularity()
            return lambda batch: np.tile(counts, (len(batch), 1))
        if term == LANGUAGE:
            return self.language_scorer(*seen)
        return self.graph_scorer() if term == ENCODER else self.linear_scorer()

    def scorer(self, *seen: Interactions, row: ServedRow | None = None) -> Scorer:
        """The row it answers from, or another it holds: one term as it is, or several weighted and added up."""
        row = row or self.row
        scorers = [self.term_scorer(term, *seen) for term in row.terms]
        return row.scorer_of(scorers, self._tensors["lengths"])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The lengths of users' histories by which terms are weighted, [U]."""
        return self._tensors["lengths"]

    def length(self, user: int) -> int:
        """The length of a user's history by which terms are weighted."""
        return int(self._tensors["lengths"][user])

    def _interactions(self, name: str) -> Interactions:
        tensors = self._tensors
        items = len(tensors["item_ids_offsets"]) - 1
        return Interactions(
            tensors[f"{name}_indptr"], tensors[f"{name}_items"], items, weights=tensors.get(f"{name}_weights")
        )

    def _strings(self, name: str) -> StringColumn:
        return StringColumn(self._tensors[name], self._tensors[f"{name}_offsets"])


def mapped_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of an index as views of its file: a page is read when it is looked at.

    Raises:
        GltaError: the file is damaged, or lacks a tensor of `TENSORS`.
    """
    return tensors_in(path, TENSORS)
