"""A prepared dataset brought up to date: what its source says now, under the indices that were known before.

Vectors and parameters are stored by index, so a user and an item keep theirs for good; new ones come behind.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from glta_cli.core.files import fingerprint
from glta_cli.core.parquet import write_table
from glta_cli.data.item_columns import DETAIL, ITEM_COLUMNS_FILE, KeptColumns, changed_columns, grown_columns
from glta_cli.data.parts import parts_of
from glta_cli.data.prepared import HIDDEN, INTERACTIONS_FILE, ITEMS_FILE, LISTED_FILE, USERS_FILE, PreparedDataset
from glta_cli.recipe.schema import DatasetSettings
from glta_cli.workspace.artefact import SCHEMA_VERSION, Artefact
from glta_cli.workspace.workspace import Workspace

STAGE: Final = "prepare"
EXAMPLES: Final = 3
# Of what a manifest was made from, and no stage: what was superseded is not needed any more.
GROWN_FROM: Final = "grown-from"


@dataclass(frozen=True)
class Growth:
    """A dataset as it was known, as its source says it now, and what is new in between.

    Attributes:
        interactions: all there are now, user after user, with the indices of before.
        user_ids, items: those of before, then the new ones; `items` has `item`, `title` and `text`.
        rows: interactions nobody knew yet, `user` and `item` as indices.
        vanished: interactions that were known and are no more.
        heavier: known interactions whose weight is another by now.
        retimed: known interactions at another time by now.
        turned: known interactions that keep their item out of the answers by now and did not, or the other way round.
        users, new_items: how many are new.
        retitled: `item`, `before` and `now` of known items with another title, or none by now.
        rewritten: known items with another text, those with another title among them.
        listed: which of the items the item file lists now, [I].
        delisted: which it listed once and lists no more, [I], unless somebody new met them: nobody is answered them.
        delisted_before: which of them were so before, [I].
        columns: further columns of the items, by index; None where none are kept.
        recolumned: known items of which one of these has another value by now.
    """

    known: PreparedDataset
    fresh: PreparedDataset
    interactions: pl.DataFrame
    user_ids: list[str]
    items: pl.DataFrame
    rows: pl.DataFrame
    vanished: int
    heavier: int
    retimed: int
    turned: int
    users: int
    new_items: int
    retitled: pl.DataFrame
    rewritten: pl.DataFrame
    listed: NDArray[np.bool_]
    delisted: NDArray[np.bool_]
    delisted_before: NDArray[np.bool_]
    columns: pl.DataFrame | None
    recolumned: int

    @property
    def nothing(self) -> bool:
        """Whether there is nothing new at all."""
        return not any(self.counts().values()) and np.array_equal(self.delisted, self.delisted_before)

    def counts(self) -> dict[str, int]:
        """How many interactions, users, items, titles and texts are new, and how many interactions are gone."""
        return {
            "interactions": self.rows.height,
            "weights": self.heavier,
            "times": self.retimed,
            "seen": self.turned,
            "users": self.users,
            "items": self.new_items,
            "titles": self.retitled.height,
            "texts": self.rewritten.height,
            "vanished": self.vanished,
            **({"columns": self.recolumned} if self.recolumned else {}),
        }

    @property
    def unlisted(self) -> list[str]:
        """Ids of known items that the source names no more, and may be answered still.

        Their places stay, as those of delisted ones: the model knows items by them.
        """
        named = set(self.fresh.item_ids)
        known = zip(self.known.item_ids, self.delisted, strict=False)
        return [item for item, delisted in known if not delisted and item not in named]

    @property
    def newly_delisted(self) -> list[str]:
        """Ids of the items that leave the answers."""
        return self.items["item"].filter(pl.Series(self.delisted & ~self.delisted_before)).to_list()

    @property
    def relisted(self) -> list[str]:
        """Ids of the items that had left the answers and are back."""
        return self.items["item"].filter(pl.Series(self.delisted_before & ~self.delisted)).to_list()

    @property
    def untitled(self) -> int:
        """How many known items have no title by now."""
        return int(self.retitled["now"].null_count())

    def examples(self) -> dict[str, list[str]]:
        """A few of what is new, as a person calls them; nothing of what is not."""
        item_ids, titles = self.items["item"], self.items.select(pl.coalesce("title", "item"))["title"]
        new = self.rows.head(EXAMPLES)
        pairs = zip(new["user"].to_list(), new["item"].to_list(), strict=True)
        items = range(self.known.item_count, self.known.item_count + self.new_items)
        with_title = pl.col("now").is_not_null()
        renamed = self.retitled.filter(with_title).head(EXAMPLES).iter_rows(named=True)
        bare = self.retitled.filter(~with_title).head(EXAMPLES).iter_rows(named=True)
        found = {
            "interactions": [f"{self.user_ids[user]}: {titles[item]}" for user, item in pairs],
            "users": self.user_ids[self.known.user_count :][:EXAMPLES],
            "items": [
                f"{item_ids[i]}: {titles[i]}" if titles[i] != item_ids[i] else titles[i] for i in items[:EXAMPLES]
            ],
            "titles": [f"{each['item']}: '{each['before'] or ''}' is '{each['now']}'" for each in renamed],
            "untitled": [f"{each['item']}: was '{each['before']}'" for each in bare],
        }
        return {name: examples for name, examples in found.items() if examples}


def growth_of(known: PreparedDataset, fresh: PreparedDataset, *, delisted: Collection[str] = ()) -> Growth:
    """What is new in a dataset that was prepared from the same source again.

    Args:
        known: with the indices that stay.
        fresh: prepared from the source as it is now, with indices of its own.
        delisted: ids of items the source listed once, besides those `known` knows of.
    """
    user_ids, users = _appended(known.user_ids, fresh.user_ids)
    item_ids, items = _appended(known.item_ids, fresh.item_ids)
    table = fresh.table()
    table = table.with_columns(
        user=pl.Series(users[table["user"].to_numpy()], dtype=pl.Int32),
        item=pl.Series(items[table["item"].to_numpy()], dtype=pl.Int32),
    )
    before = known.table()
    joined = table.drop("split").join(
        before.select(
            "user",
            "item",
            known_split=pl.col("split").cast(pl.String),
            known_weight=_weight(known, before),
            known_seen=_seen(before),
            known_time=_time(before),
        ),
        on=["user", "item"],
        how="left",
        maintain_order="left",
    )
    was_known = pl.col("known_split").is_not_null()
    # Where all count for the same, before and now, it says nothing how much that is.
    weighted = "weight" in before.columns or "weight" in joined.columns
    heavier = joined.filter(was_known & (pl.col("known_weight") != _weight(fresh, joined))).height if weighted else 0
    retimed = joined.filter(was_known & pl.col("known_time").ne_missing(_time(joined))).height
    turned = joined.filter(was_known & (pl.col("known_seen") != _seen(joined))).height
    rows = joined.filter(~was_known).select("user", "item")
    # A known interaction stays in its part, so that nothing that was measured by becomes something that was learnt.
    split = pl.col("known_split").fill_null("train").cast(pl.Enum(parts_of(known.split_settings)))
    interactions = joined.with_columns(split=split).drop("known_split", "known_weight", "known_seen", "known_time")
    listing = _Listing.of(known, fresh, items, len(item_ids), rows, delisted)
    described = _described(known.items(), _told_items(fresh), item_ids)
    changes = known.items().join(described, on="item", suffix="_now", maintain_order="left")
    told = fresh.listed if fresh.lists_items else np.ones(fresh.item_count, dtype=bool)
    columns = grown_columns(known.item_columns, fresh.item_columns, items, told, len(item_ids))
    other = [pl.col(name).ne_missing(pl.col(f"{name}_now")) for name in ("title", "text")]
    return Growth(
        known,
        fresh,
        interactions.sort("user", maintain_order=True),
        user_ids,
        described,
        rows,
        before.height - (joined.height - rows.height),
        heavier,
        retimed,
        turned,
        len(user_ids) - known.user_count,
        len(item_ids) - known.item_count,
        changes.filter(other[0]).select("item", before="title", now="title_now"),
        changes.filter(other[0] | other[1]).select("item"),
        listing.listed,
        listing.delisted,
        listing.delisted_before,
        columns,
        changed_columns(known.item_columns, columns),
    )


def publish_growth(growth: Growth, settings: DatasetSettings, workspace: Workspace) -> PreparedDataset:
    """Publish the dataset as it is now; found again where it was published before.

    Args:
        settings: as it was prepared now, with the source where it is now.
    """
    known, fresh = growth.known.artefact, growth.fresh.artefact
    # What is delisted follows from the two, unless that was known of items from elsewhere.
    carried = growth.items["item"].filter(pl.Series(growth.delisted)).to_list() if known == fresh else []
    told = [carried] if carried else []
    identity = fingerprint([SCHEMA_VERSION, "growth", known.fingerprint, fresh.fingerprint, *told])
    inputs: Mapping[str, Any] = fresh.manifest["inputs"]

    def publish() -> Artefact:
        return workspace.publish(
            STAGE,
            identity,
            partial(_write, growth),
            settings=settings.model_dump(mode="json"),
            inputs={**inputs, GROWN_FROM: known.fingerprint},
            seed=fresh.manifest["seed"],
        )

    artefact, _ = workspace.published_or_made(STAGE, identity, publish)
    return PreparedDataset(artefact)


def grown_source(prepared: PreparedDataset) -> Path | None:
    """Where a dataset that grew was read from; None for one that was prepared as it is."""
    manifest = prepared.artefact.manifest
    source = manifest["settings"].get("source")
    if GROWN_FROM not in manifest["inputs"] or source is None or not Path(source).is_absolute():
        return None
    return Path(source)


def same_source(known: PreparedDataset, fresh: PreparedDataset) -> bool:
    """Whether both were read from files of the same bytes."""
    return _files(known) == _files(fresh)


def _files(prepared: PreparedDataset) -> dict[str, str]:
    """The SHA-256 of each file by its role."""
    inputs = prepared.artefact.manifest["inputs"].items()
    return {role: each["sha256"] for role, each in inputs if isinstance(each, dict)}


def _appended(known: Sequence[str], fresh: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The known ids and behind them the new ones, and where each of the fresh ones stands among them."""
    places = {each: place for place, each in enumerate(known)}
    found = [places.setdefault(each, len(places)) for each in fresh]
    return list(places), np.array(found, dtype=np.int64)


def _weight(prepared: PreparedDataset, table: pl.DataFrame) -> pl.Expr:
    """What each interaction of a table counts for, in the units of its source."""
    return pl.col("weight") if "weight" in table.columns else pl.lit(prepared.weight_of_all, pl.Float32)


def _time(table: pl.DataFrame) -> pl.Expr:
    """When each interaction was, in seconds; null where nothing is said of times."""
    return pl.col("timestamp") if "timestamp" in table.columns else pl.lit(None, pl.Int64)


def _seen(table: pl.DataFrame) -> pl.Expr:
    """Whether each interaction keeps its item out of the answers: all do where nothing else is said."""
    return pl.col("seen") if "seen" in table.columns else pl.lit(True)


@dataclass(frozen=True)
class _Listing:
    """What the item file lists, and what it does no more: bool [I] each, of known items and those behind them."""

    listed: NDArray[np.bool_]
    delisted: NDArray[np.bool_]
    delisted_before: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        known: PreparedDataset,
        fresh: PreparedDataset,
        places: NDArray[np.int64],
        count: int,
        rows: pl.DataFrame,
        delisted: Collection[str],
    ) -> _Listing:
        """What it was, and what it is by what is new.

        A source that lists nothing takes nothing away: it has no list of what there is, or an empty one.

        Args:
            places: of the fresh items among all `count`.
            rows: interactions nobody knew: who was met by somebody new is there, whatever the list says.
            delisted: as those of `growth_of`.
        """
        listed, was_listed, before = (np.zeros(count, dtype=bool) for _ in range(3))
        listed[places] = fresh.listed
        before[: known.item_count] = known.delisted
        once = set(delisted)
        was_listed[: known.item_count] = known.listed | known.delisted
        was_listed[: known.item_count] |= np.fromiter((item in once for item in known.item_ids), dtype=bool)
        if not fresh.lists_items:
            return cls(listed, before, before)
        met_anew = np.zeros(count, dtype=bool)
        met_anew[rows["item"].to_numpy()] = True
        return cls(listed, was_listed & ~listed & ~met_anew, before)


def _told_items(fresh: PreparedDataset) -> pl.DataFrame:
    """Title and text of the items the source says anything of: a list of items says nothing of those it lacks."""
    return fresh.items().filter(pl.Series(fresh.listed)) if fresh.lists_items else fresh.items()


def _described(known: pl.DataFrame, fresh: pl.DataFrame, item_ids: list[str]) -> pl.DataFrame:
    """Title and text of all items: what is said of them now, and of those that are no more what was."""
    newest = pl.concat([fresh, known.join(fresh, on="item", how="anti")])
    catalogue = pl.DataFrame({"item": item_ids}, schema={"item": pl.String})
    return catalogue.join(newest, on="item", how="left", maintain_order="left")


def _write(growth: Growth, folder: Path) -> dict[str, Any]:
    write_table(folder / INTERACTIONS_FILE, growth.interactions)
    people = pl.DataFrame({"user": growth.user_ids}, schema={"user": pl.String})
    write_table(folder / USERS_FILE, _with_hidden(people, growth.known, "users"))
    write_table(folder / ITEMS_FILE, _with_hidden(growth.items, growth.known, "items"))
    if growth.fresh.lists_items or growth.delisted.any():
        write_table(folder / LISTED_FILE, pl.DataFrame({"listed": growth.listed, "delisted": growth.delisted}))
    columns = growth.columns
    if columns is not None and columns.width:
        write_table(folder / ITEM_COLUMNS_FILE, columns)
    users, items, count = len(growth.user_ids), growth.items.height, growth.interactions.height
    sizes = dict(growth.interactions["split"].value_counts().iter_rows())
    return {
        **growth.fresh.artefact.manifest["details"],
        "users": users,
        "items": items,
        "interactions": count,
        "density": count / (users * items),
        "split": {name: sizes.get(name, 0) for name in parts_of(growth.known.split_settings)},
        "has_text": growth.items["text"].null_count() < items,
        **({} if columns is None else {DETAIL: KeptColumns(columns).kinds}),
    }


def _with_hidden(table: pl.DataFrame, known: PreparedDataset, kind: str) -> pl.DataFrame:
    """A table of all users or items, in which those that were hidden are; new ones are not."""
    if known.hides != kind:
        return table
    hidden = np.full(table.height, None, dtype=object)
    for part in ("valid", "test"):
        hidden[np.flatnonzero(known.hidden(part))] = part
    return table.with_columns(pl.Series(HIDDEN, hidden.tolist(), dtype=pl.String))
