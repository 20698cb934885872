"""The files of a prepared dataset: what a loader read, cleaned, split and written, with its counts and warnings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from glta_cli.core.counts import agreeing, counted
from glta_cli.core.downloads import shown_url
from glta_cli.core.errors import GltaError, InputError
from glta_cli.core.parquet import write_parts, write_table
from glta_cli.core.progress import progress_bar
from glta_cli.core.storage import require_room
from glta_cli.data.account import account_of, examples_of, far_warnings, span_of
from glta_cli.data.cleaning import CleanTable, clean
from glta_cli.data.cold_splits import hidden_items, hidden_users
from glta_cli.data.item_columns import DETAIL, ITEM_COLUMNS_FILE, kept_columns
from glta_cli.data.item_matches import match_warnings
from glta_cli.data.item_text import item_text, plain
from glta_cli.data.loader_outputs import check_account, check_raw
from glta_cli.data.losses import loss_warnings, lost
from glta_cli.data.parts import TRAIN, parts_of
from glta_cli.data.prepared import HIDDEN, INTERACTIONS_FILE, ITEMS_FILE, LISTED_FILE, NO_TEXTS, USERS_FILE
from glta_cli.data.repeated_items import repeat_warnings
from glta_cli.data.splits import FEWEST_TO_SPLIT, split
from glta_cli.data.time_order import order_warnings
from glta_cli.data.unmet_items import unmet_items
from glta_cli.plugin import DatasetLoader, RawDataset
from glta_cli.plugin.component import Component
from glta_cli.plugin.interactions import Interactions
from glta_cli.recipe.schema import DatasetSettings

# What an interaction takes in Parquet, however well it compresses.
LEAST_BYTES_A_ROW = 1
# Rows written at once. Where parts begin decides how Parquet groups rows: what always was written as one stays the same
# file. With 25 bytes a row that is 400 MB, and a part of a larger table 100 MB.
WRITTEN_AT_ONCE, WRITTEN_ROWS = 1 << 24, 1 << 22


def write_dataset(
    settings: DatasetSettings,
    component: Component,
    loader: DatasetLoader,
    files: Mapping[str, Path],
    folder: Path,
    has_read: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Fill `folder` with the prepared dataset and return its counts.

    Args:
        has_read: called as soon as the files are read; where the loader reads of them later, once more at the end.
    """
    with component.named():
        try:
            raw = loader.read(files)
        except MemoryError as error:
            place = ", ".join(str(path) for path in files.values())
            raise GltaError("does not fit into the memory", location=place, hint="take a part of the data") from error
        has_read()
    check_raw(raw)
    interactions, warnings = raw.interactions, list(raw.warnings)
    if settings.split.strategy != "given" and "split" in interactions.collect_schema().names():
        # An ignored column must not decide which of two equal pairs is the duplicate.
        interactions = interactions.drop("split")
        warnings.append(
            f"the source comes divided into parts of its own, which {settings.split.strategy} divides anew: "
            "`--split given` keeps them"
        )
    table = clean(interactions, min_rating=settings.min_rating, kcore=settings.kcore, keeps_unrated=raw.keeps_unrated)
    dropped = _merged(raw.dropped, table.dropped)
    read = table.height + table.added_up + sum(dropped.values())
    with component.named():
        check_account(raw, read)
    if not table.height:
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in dropped.items())
        raise InputError(
            f"no interaction is left ({reasons or 'there was none'})",
            location=shown_url(settings.source or settings.name),
            hint="look at the file, or lower --kcore and --min-rating",
        )

    examples = examples_of(raw, table)
    losses = lost(raw, dropped)
    span = span_of(raw)
    warnings += [*loss_warnings(settings, losses, read, examples), *far_warnings(raw, span)]
    unmet = unmet_items(raw, table.item_ids, settings.kcore)
    item_ids = [*table.item_ids, *unmet]

    require_room(folder, table.height * LEAST_BYTES_A_ROW)
    if settings.split.in_time and "timestamp" not in table.columns:
        _refuse_empty_times(settings, raw)
    if settings.split.in_time:
        warnings += order_warnings(table)
    parts = parts_of(settings.split)
    assigned, hidden = _divided(settings, table)
    write_parts(folder / INTERACTIONS_FILE, _with_split(table, assigned, parts))
    users = table.users_met.alias("user").to_frame()
    if settings.split.hides == "users":
        users = users.with_columns(_hidden(hidden, len(users)))
    write_table(folder / USERS_FILE, users)
    items = _items(raw, item_ids)
    if settings.split.hides == "items":
        items = items.with_columns(_hidden(hidden, len(items)))
    write_table(folder / ITEMS_FILE, items)
    columns = kept_columns(raw, item_ids)
    if columns.table.width:
        write_table(folder / ITEM_COLUMNS_FILE, columns.table)

    sizes = dict(zip(parts, np.bincount(assigned, minlength=len(parts)).tolist(), strict=True))
    warnings += [*_split_warnings(table, sizes), *_text_warnings(items)]
    unknown, told_listed = 0, {}
    if raw.items is not None:
        name = files["items"].name if "items" in files else "the item file"
        described = raw.items.select(pl.col("item").cast(pl.String)).collect()["item"]
        unknown = len(set(described.drop_nulls()).difference(item_ids))
        told_listed = _write_listed(folder, items, described) if raw.catalogue else {}
        warnings += [*match_warnings(table.item_ids, described.to_list(), name), *repeat_warnings(raw.items, name)]
    if not sizes["test"] and settings.split.strategy != "given":
        warnings.append(
            f"nothing is left to test on: no user has {FEWEST_TO_SPLIT} interactions, so all are for training"
        )
    user_count, catalogue, count = len(users), len(item_ids), table.height
    if _reads_later(raw):
        has_read()
    account = partial(account_of, raw, read=read, kept=count, lost=sum(losses.values()), span=span)
    of_items = {"unmet": len(unmet), "without_text": items["text"].null_count(), "only_in_item_file": unknown}
    return {
        "dataset": settings.name,
        "users": user_count,
        "items": catalogue,
        "interactions": count,
        "density": count / (user_count * catalogue),
        "dropped": dropped,
        "examples": {reason: examples[reason] for reason in dropped if reason in examples},
        "account": account(items=of_items, columns=columns),
        DETAIL: columns.kinds,
        "split": sizes,
        "has_text": items["text"].null_count() < items.height,
        "warnings": warnings,
        **told_listed,
        **_weighing(raw, table),
    }


def _reads_later(raw: RawDataset) -> bool:
    """Whether a table is a plan to read a file, and not rows in memory."""
    tables = [table for table in (raw.interactions, raw.items) if table is not None]
    return any("SCAN" in table.explain(optimized=False) for table in tables)


def _write_listed(folder: Path, items: pl.DataFrame, named: pl.Series) -> dict[str, Any]:
    """Write which items of the catalogue the item file lists, unless those are the ones with a text; how many it does.

    Args:
        items: of the catalogue.
        named: the ids of the item file.
    """
    listed = items.select(listed=pl.col("item").is_in(named.drop_nulls().unique().implode()))
    if not listed["listed"].equals(items["text"].is_not_null().alias("listed")):
        write_table(folder / LISTED_FILE, listed)
    return {"listed": int(listed["listed"].sum())}


def _weighing(raw: RawDataset, table: CleanTable) -> dict[str, Any]:
    """What is told where the source has events or weights; nothing where it has neither."""
    told: dict[str, Any] = {}
    if table.added_up:
        told["added_up"] = table.added_up
    if raw.events:
        told["events"] = {event: asdict(rows) for event, rows in raw.events.items()}
    if "weight" in table.columns:
        weights = table.column("weight").cast(pl.Float64)
        told["weights"] = {"least": weights.min(), "mean": weights.mean(), "most": weights.max()}
    if table.weight_of_all != 1:
        told["weight_of_all"] = table.weight_of_all
    if "seen" in table.columns:
        told["seen"] = int(table.column("seen").sum())
    return told


def _refuse_empty_times(settings: DatasetSettings, raw: RawDataset) -> None:
    """Raise `InputError` where there is a column of times without a single one: to name it would not help."""
    if "timestamp" in raw.interactions.collect_schema().names():
        raise InputError(
            f"the split '{settings.split.strategy}' needs times, and the column of times holds none",
            location="dataset.split.strategy",
            hint="use --set dataset.split.strategy=ratio, or look at the column",
        )


def _divided(settings: DatasetSettings, table: CleanTable) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """The part of each interaction [n], and that of each user or item, as `hides` says, which is hidden for one."""
    interactions = Interactions(table.indptr, table.items.astype(np.int64), len(table.items_met))
    timestamps = (
        table.column("timestamp").to_numpy() if "timestamp" in table.columns and settings.split.in_time else None
    )
    given = table.column("split").to_physical().to_numpy().astype(np.int8) if "split" in table.columns else None
    assigned = split(interactions, settings.split, timestamps, given)
    if settings.split.hides == "users":
        return assigned, hidden_users(interactions, settings.split)
    if settings.split.hides == "items":
        return assigned, hidden_items(interactions, settings.split)
    return assigned, np.empty(0, dtype=np.int8)


def _with_split(table: CleanTable, assigned: NDArray[np.int8], names: Sequence[str]) -> Iterator[pl.DataFrame]:
    """The interactions, some at a time, with the name of the part of each."""
    called, start = pl.Series("split", names, dtype=pl.Enum(names)), 0
    with progress_bar(table.height, "write", "rows", within_another=True, stops=False) as bar:
        for rows in table.parts(WRITTEN_ROWS if table.height > WRITTEN_AT_ONCE else WRITTEN_AT_ONCE):
            yield rows.with_columns(called.gather(assigned[start : start + rows.height]))
            start += rows.height
            bar.update(rows.height)


def _hidden(parts: np.ndarray, count: int) -> pl.Series:
    """The part that each of `count` users or items is hidden for, null where it is not, as those nobody met are not."""
    names = pl.Series(HIDDEN, [None, "valid", "test"], dtype=pl.String)
    every = np.full(count, TRAIN)
    every[: len(parts)] = parts
    return names.gather(every)


def _split_warnings(table: CleanTable, sizes: Mapping[str, int]) -> list[str]:
    """What became of a given split that lacks a part."""
    if "split" not in table.columns:
        return []
    parts = set(table.column("split").unique())
    warnings = []
    if "valid" not in parts:
        warnings.append(
            "the given split has no validation part: "
            f"{counted(sizes['valid'], 'training interaction was', 'of its training interactions were')} drawn for it"
        )
    if "test" not in parts:
        warnings.append("the given split has no test part: nothing is left to test on")
    return warnings


def _items(raw: RawDataset, item_ids: list[str]) -> pl.DataFrame:
    """Title and text of every item of the catalogue, by index; of several of an item, the first that is not empty."""
    catalogue = pl.DataFrame({"item": item_ids}, schema={"item": pl.String})
    if raw.items is None:
        return catalogue.with_columns(title=pl.lit(None, pl.String), text=pl.lit(None, pl.String))
    present = raw.items.collect_schema().names()
    described = (
        raw.items.select(
            pl.col(name).cast(pl.String) if name in present else pl.lit(None, pl.String).alias(name)
            for name in ("item", "title", "description")
        )
        .filter(pl.col("item").is_in(item_ids))
        .collect()
    )
    if described["item"].is_duplicated().any():
        filled = [pl.col(name).filter(pl.col(name).str.contains(r"\S")).first() for name in ("title", "description")]
        described = described.group_by("item", maintain_order=True).agg(filled)
    titles = [plain(title) for title in described["title"]]
    texts = [
        item_text(title, plain(description))
        for title, description in zip(titles, described["description"], strict=True)
    ]
    known = pl.DataFrame(
        {"item": described["item"], "title": titles, "text": texts},
        schema={"item": pl.String, "title": pl.String, "text": pl.String},
    )
    return catalogue.join(known, on="item", how="left", maintain_order="left")


def _text_warnings(items: pl.DataFrame) -> list[str]:
    without = items["text"].null_count()
    if without == items.height:
        return [NO_TEXTS]
    if not without:
        return []
    have = agreeing(without, "has", "have")
    return [f"{without:,} of {counted(items.height, 'item')} {have} neither title nor description"]


def _merged(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    reasons = [*first, *(reason for reason in second if reason not in first)]
    merged = {reason: first.get(reason, 0) + second.get(reason, 0) for reason in reasons}
    return {reason: count for reason, count in merged.items() if count}
