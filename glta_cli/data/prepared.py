"""The prepared dataset: what `glta prepare` publishes and every later stage reads."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from glta_cli.core.parquet import read_table
from glta_cli.data.item_columns import DETAIL, ITEM_COLUMNS_FILE
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.schema import SplitSettings
from glta_cli.workspace.artefact import Artefact

INTERACTIONS_FILE: Final = "interactions.parquet"
USERS_FILE: Final = "users.parquet"
ITEMS_FILE: Final = "items.parquet"
# The column that says which part a user or an item is hidden for.
HIDDEN: Final = "hidden"
LISTED_FILE: Final = "listed.parquet"
# What is said of a dataset without texts; as it begins in every version.
_NO_TEXTS_BEGIN: Final = "no item has a text"
NO_TEXTS: Final = f"{_NO_TEXTS_BEGIN}: runs go without what needs titles or descriptions"

SplitName = Literal["train", "valid", "test", "history"]
Measuring = Literal["valid", "test"]


class PreparedDataset:
    """One published dataset; its files are read, and their hashes checked, when first asked for.

    Files:
        interactions.parquet: `user`, `item` (Int32 indices), `rating`, `timestamp` where known, `split`, and where
            they are not the same everywhere `weight` (Float32) and `seen` (Boolean); user after user, each user's
            rows in order of time.
        users.parquet: `user`, the original id at each user index.
        items.parquet: `item`, the original id at each item index, with `title` and `text` or null.
        listed.parquet: `listed`, whether the item file lists each item, where those are others than the items with a
            text; and in a dataset that grew `delisted`, whether it did and does no more.
        item_columns.parquet: further columns of the items, by index, where the source has any.

    Of a split that hides users or items from all that is learnt, their file has `hidden`: `valid`, `test` or null.

    Args:
        stamps: size and time of writing (`core/files.py`, `stamp`) of the files of its source, by role, as they were
            when they were read, where that was just now.
    """

    def __init__(self, artefact: Artefact, stamps: Mapping[str, list[int]] | None = None) -> None:
        self.artefact = artefact
        self.stamps: Mapping[str, list[int]] = stamps or {}

    @property
    def name(self) -> str:
        return str(self.artefact.details["dataset"])

    @property
    def user_count(self) -> int:
        return int(self.artefact.details["users"])

    @property
    def item_count(self) -> int:
        return int(self.artefact.details["items"])

    @property
    def has_text(self) -> bool:
        """Whether any item has a title or a description."""
        return bool(self.artefact.details["has_text"])

    @property
    def weighted(self) -> bool:
        """Whether some interactions count for more than others."""
        return "weights" in self.artefact.details

    @property
    def warnings(self) -> list[str]:
        """What the loader found worth telling."""
        told = self.artefact.details["warnings"]
        # 0.1 named stages that such a run does without.
        return [NO_TEXTS if warning.startswith(_NO_TEXTS_BEGIN) else warning for warning in told]

    @property
    def warnings_beside_texts(self) -> list[str]:
        """The same for whoever says by itself what is left out where there are no texts."""
        return [warning for warning in self.warnings if warning != NO_TEXTS]

    @cached_property
    def user_ids(self) -> list[str]:
        """Original user ids, by index."""
        return self._read(USERS_FILE, "user")["user"].to_list()

    @cached_property
    def item_ids(self) -> list[str]:
        """Original item ids, by index."""
        return self._items["item"].to_list()

    @cached_property
    def titles(self) -> list[str]:
        """Item titles, by index; the id where there is no title."""
        return self._items.select(pl.coalesce("title", "item"))["title"].to_list()

    @cached_property
    def texts(self) -> list[str]:
        """Title and description, by index; the id where there is neither."""
        return self._items.select(pl.coalesce("text", "title", "item"))["text"].to_list()

    @cached_property
    def described(self) -> NDArray[np.bool_]:
        """Which items have a title or a description, [I]."""
        return self._items["text"].is_not_null().to_numpy()

    @property
    def lists_items(self) -> bool:
        """Whether it came with a list of what there is, with an item of the catalogue in it; 0.1 kept no note of it."""
        return bool(self.artefact.details.get("listed", 0))

    @cached_property
    def listed(self) -> NDArray[np.bool_]:
        """Which items that list names, [I]."""
        if not self.artefact.has(LISTED_FILE):
            return self.described
        return self._read(LISTED_FILE, "listed")["listed"].to_numpy()

    @cached_property
    def delisted(self) -> NDArray[np.bool_]:
        """Which items it named once and names no more, [I]: they are in nobody's answers."""
        stored = self._read(LISTED_FILE) if self.artefact.has(LISTED_FILE) else pl.DataFrame()
        return stored["delisted"].to_numpy() if "delisted" in stored.columns else np.zeros(self.item_count, dtype=bool)

    @property
    def keeps_columns(self) -> bool:
        """Whether it was prepared since further columns of items are kept, whether its source has any or not."""
        return DETAIL in self.artefact.manifest["details"]

    @cached_property
    def item_columns(self) -> pl.DataFrame | None:
        """Further columns of the items, by index; None where none were kept, an empty frame where there are none."""
        if not self.keeps_columns:
            return None
        return self._read(ITEM_COLUMNS_FILE) if self.artefact.has(ITEM_COLUMNS_FILE) else pl.DataFrame()

    @property
    def weight_of_all(self) -> float:
        """What each interaction counts for where all count for the same, in the units of the source."""
        return float(self.artefact.details.get("weight_of_all", 1.0))

    def split(self, *names: SplitName) -> Interactions:
        """The interactions of one split, or of several together; user and item indices are the same in all."""
        return self._interactions(self._table.filter(pl.col("split").is_in(list(names))))

    @property
    def split_in_time(self) -> bool:
        """Whether every user's validation interactions lie before the test ones, and after those of training."""
        return self.split_settings.in_time

    @property
    def hides(self) -> Literal["items", "users"] | None:
        """What the split hides from everything that is learnt, if anything."""
        return self.split_settings.hides

    def hidden(self, *parts: Measuring) -> NDArray[np.bool_]:
        """Which items [I] or users [U], as `hides` says, are hidden for these parts; for either where none is named."""
        table = self._read(USERS_FILE, HIDDEN) if self.hides == "users" else self._read(ITEMS_FILE, HIDDEN)
        return table[HIDDEN].is_in(list(parts or ("valid", "test"))).fill_null(False).to_numpy()

    @cached_property
    def items_to_learn(self) -> NDArray[np.int64] | None:
        """The items a training may know of, ascending: all but the hidden ones; None where none is hidden."""
        return np.flatnonzero(~self.hidden()) if self.hides == "items" else None

    def histories_at_validation(self) -> Interactions:
        """What every row knows of each user when something is chosen on validation: training interactions.

        Of users who are hidden for that, what is known of them.
        """
        return self._with_hidden_histories("valid") if self.hides == "users" else self.split("train")

    def histories_at_test(self) -> Interactions:
        """What every row knows of each user when the test is ranked, in order of time.

        Training and validation interactions where the split is in time: who is asked for the next item has met those.
        Else training interactions alone: drawn at random, validation items may be newer than the test's. Fits, choices
        on validation and whatever counts how popular an item is see training interactions, whatever the split. Of users
        who are hidden for the test, what is known of them.
        """
        if self.hides == "users":
            return self._with_hidden_histories("test")
        return self.split(*self.parts_known_at_test)

    @property
    def histories_differ(self) -> bool:
        """Whether the histories at test are others than those by which something is chosen on validation."""
        return self.split_in_time or self.hides == "users"

    @property
    def parts_known_at_test(self) -> tuple[SplitName, ...]:
        """The parts of the split that `histories_at_test` holds."""
        if self.hides == "users":
            return ("train", "history")
        return ("train", "valid") if self.split_in_time else ("train",)

    def masked_at_test(self) -> tuple[Interactions, ...]:
        """What is no answer when the test is ranked."""
        known = (self.split("train"), self.split("valid"))
        return (*known, self.split("history")) if self.hides == "users" else known

    def validation_of_known(self) -> Interactions:
        """Validation interactions of users and items a training knows, by which it selects its epoch."""
        validation = self.split("valid")
        if self.hides is None:
            return validation
        return validation.where(~self.hidden()[validation.users if self.hides == "users" else validation.items])

    def history(self) -> Interactions:
        """The interactions of all splits."""
        return self._interactions(self._table)

    def table(self) -> pl.DataFrame:
        """All interactions with all that is known of each; users and items by index."""
        return self._read(INTERACTIONS_FILE, "user", "item", "split")

    def items(self) -> pl.DataFrame:
        """`item`, `title` and `text` of the catalogue, by index."""
        return self._items.select("item", "title", "text")

    @cached_property
    def newest(self) -> str | None:
        """The day of the newest interaction, ISO 8601 in UTC; None where there are no times."""
        times = read_table(self.artefact.file(INTERACTIONS_FILE), only=("timestamp",))
        latest = times["timestamp"].drop_nulls().to_numpy() if "timestamp" in times.columns else np.empty(0)
        # NumPy knows days beyond the year 9999, which a damaged clock may give.
        return str(np.datetime64(int(latest.max()), "s").astype("datetime64[D]")) if len(latest) else None

    def seen(self) -> Interactions:
        """The interactions of all splits that keep their item out of the answers to their user.

        All of them, unless the source says otherwise, such as of an item that was only viewed.
        """
        table = self._table
        return self._interactions(table.filter(pl.col("seen")) if "seen" in table.columns else table)

    @property
    def examples(self) -> dict[str, str]:
        """For reasons of `dropped`, where the first such record stands and what it looks like."""
        return dict(self.artefact.details.get("examples", {}))

    @property
    def account(self) -> dict[str, Any] | None:
        """What came in: files with their columns, rows read, kept and lost, first and last date, and counts of items.

        None where 0.1 prepared it, which kept no account.
        """
        account: dict[str, Any] | None = self.artefact.details.get("account")
        return account

    def summary(self) -> dict[str, Any]:
        """Users, items, interactions, density, rows dropped by reason, and the sizes of the splits.

        Where the source has events or weights also `added_up` (rows whose weight was added to another one's), `events`
        (`EventRows` of each), `weights` (`least`, `mean` and `most` of an interaction) and `seen` (the interactions
        that keep their item out of the answers, where not all do).
        """
        keys = ("dataset", "users", "items", "interactions", "density", "dropped", "split")
        told = ("added_up", "events", "weights", "seen")
        details = self.artefact.details
        return {key: details[key] for key in keys} | {key: details[key] for key in told if key in details}

    @cached_property
    def split_settings(self) -> SplitSettings:
        """How it was divided."""
        return SplitSettings.model_validate(self.artefact.manifest["settings"]["split"])

    def _with_hidden_histories(self, part: Measuring) -> Interactions:
        """Training interactions, and what is known of the users hidden for a part."""
        of_part = pl.Series(self.hidden(part)).gather(self._table["user"])
        return self._interactions(
            self._table.filter((pl.col("split") == "train") | ((pl.col("split") == "history") & of_part))
        )

    @cached_property
    def _table(self) -> pl.DataFrame:
        """What stages ask of interactions: of a large log times and ratings take more than all of it."""
        columns = ("user", "item", "split")
        return read_table(self.artefact.file(INTERACTIONS_FILE), *columns, only=(*columns, "weight", "seen"))

    @cached_property
    def _items(self) -> pl.DataFrame:
        return self._read(ITEMS_FILE, "item", "title", "text")

    def _read(self, name: str, *columns: str) -> pl.DataFrame:
        return read_table(self.artefact.file(name), *columns)

    def _interactions(self, table: pl.DataFrame) -> Interactions:
        return Interactions.from_pairs(
            table["user"].to_numpy(),
            table["item"].to_numpy(),
            user_count=self.user_count,
            item_count=self.item_count,
            weights=table["weight"].to_numpy() if "weight" in table.columns else None,
        )


class EverythingKnown(PreparedDataset):
    """A prepared dataset whose training interactions are all there are: what a refit trains on.

    Validation interactions are among them. They are still told, but select nothing.
    """

    def split(self, *names: SplitName) -> Interactions:
        return self.history() if "train" in names else super().split(*names)

    @property
    def hides(self) -> None:
        """Nothing: what was hidden to be measured is known by now."""
