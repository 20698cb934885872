"""The stage `prepare`: locate a dataset's files, clean, split, and publish what the later stages read."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from glta_cli.core.downloads import Downloads, is_url, shown_url
from glta_cli.core.errors import GltaError, InputError
from glta_cli.core.files import (
    file_sha256,
    fingerprint,
    read_sealed_json,
    set_aside,
    stamp,
    write_sealed_json,
)
from glta_cli.core.parquet import write_table
from glta_cli.core.storage import require_room, storage_errors
from glta_cli.core.terminal import nothing_on_stdout
from glta_cli.data.cleaning import CleanTable, clean
from glta_cli.data.item_matches import match_warnings
from glta_cli.data.item_text import item_text, plain
from glta_cli.data.loader_outputs import check_account, check_files, check_raw
from glta_cli.data.prepared import INTERACTIONS_FILE, ITEMS_FILE, USERS_FILE, PreparedDataset
from glta_cli.data.splits import FEWEST_TO_SPLIT, SPLITS, split
from glta_cli.plugin import DatasetLoader, RawDataset
from glta_cli.plugin.component import OWN_DISTRIBUTION, Component
from glta_cli.plugin.identity import OWN_RESULTS_SINCE, component_identity
from glta_cli.plugin.interactions import Interactions
from glta_cli.plugin.registry import installed
from glta_cli.recipe.schema import DatasetSettings, Recipe
from glta_cli.recipe.selection import component_options
from glta_cli.workspace.artefact import SCHEMA_VERSION, Artefact
from glta_cli.workspace.workspace import Workspace

STAGE: Final = "prepare"
# What an interaction takes in Parquet, however well it compresses.
LEAST_BYTES_A_ROW: Final = 1
POINTER_KEYS: Final = ("fingerprint", "source", "loader")


@nothing_on_stdout()
def prepare(settings: DatasetSettings, workspace: Workspace) -> tuple[PreparedDataset, bool]:
    """Prepare a dataset, or find it prepared already.

    Without a source, a dataset prepared before from the same settings is taken as it is, whichever source it
    came from and without a look at the network. With a source, its files are hashed: if nothing changed, the
    dataset is up to date.

    Returns:
        The dataset, and whether it was up to date.

    What is up to date is found without a lock and without a write, so that it can lie in a read-only folder.

    Raises:
        InputError: files missing or not in the dataset's format, or nothing left after the filters.
        GltaError: a download failed, or the folder is read-only or has no room for the dataset.
        BusyError: another process prepares the same dataset.
    """
    component = installed().find("dataset", settings.name)
    loader = loader_of(settings)
    pointer = _pointer(settings, loader, workspace)
    if settings.source is None:
        known = _known(pointer, component, workspace)
        if known is not None:
            return known, True
    with component.named():
        files = located(loader, settings.source, Downloads(workspace.folder("downloads")))
        check_files(files)
    inputs = {role: {"file": path.name, "sha256": file_sha256(path)} for role, path in sorted(files.items())}
    identity = _identity(settings, inputs, component)

    def publish() -> Artefact:
        return workspace.publish(
            STAGE,
            identity,
            partial(_write, settings, component, loader, files),
            settings=settings.model_dump(mode="json"),
            inputs=inputs,
            seed=settings.split.seed,
        )

    artefact, up_to_date = workspace.published_or_made(STAGE, identity, publish)
    content = {"fingerprint": identity, "source": _absolute(settings.source), "loader": _loader_identity(component)}
    _point(pointer, content, may_fail=up_to_date)
    return PreparedDataset(artefact), up_to_date


def prepared_before(settings: DatasetSettings, workspace: Workspace) -> PreparedDataset | None:
    """The dataset these settings last led to, or None; looks at no source and no network."""
    component = installed().find("dataset", settings.name)
    return _known(_pointer(settings, loader_of(settings), workspace), component, workspace)


def source_files(prepared: PreparedDataset, settings: DatasetSettings, workspace: Workspace) -> dict[str, list[Any]]:
    """The files a dataset was just prepared from, by absolute path: size, time of writing and the SHA-256 as read.

    None where they are fetched: what was downloaded is kept as it came.
    """
    if settings.source is None or is_url(settings.source):
        return {}
    with installed().find("dataset", settings.name).named():
        files = located(loader_of(settings), settings.source, Downloads(workspace.folder("downloads")))
    inputs = prepared.artefact.manifest["inputs"]
    return {
        str(path.absolute()): [*stamp(path), inputs[role]["sha256"]]
        for role, path in sorted(files.items())
        if role in inputs
    }


def loader_of(settings: DatasetSettings) -> DatasetLoader:
    """The loader the settings select, with its own settings checked."""
    options = component_options(Recipe.model_validate({"dataset": settings}), "dataset")
    loader: DatasetLoader = installed().find("dataset", settings.name).build(settings.name, options)
    return loader


def needs_source(loader: DatasetLoader) -> bool:
    """Whether a loader can fetch nothing; it then has a true attribute `needs_source`."""
    return bool(getattr(loader, "needs_source", False))


# ------------------------------------------------------------------------------------------------ identity


def _pointer(settings: DatasetSettings, loader: DatasetLoader, workspace: Workspace) -> Path:
    """The file that leads from settings to the dataset they were last prepared into.

    Where nothing can be fetched, the source is what tells one dataset from another. Elsewhere a local copy
    stands for the download.
    """
    key = settings.model_dump(mode="json")
    if not needs_source(loader):
        del key["source"]
    return workspace.folder("datasets") / f"{fingerprint(key)}.json"


def _pointed_at(pointer: Path) -> dict[str, Any] | None:
    """What a pointer says; None where there is none, or a damaged one: it says so, and the source is read instead."""
    if not pointer.is_file():
        return None
    try:
        known = read_sealed_json(pointer, POINTER_KEYS)
        if not isinstance(known.get("fingerprint"), str):
            raise GltaError("is damaged: it names no dataset")
    except GltaError as error:
        set_aside(pointer, error.problem, "the source is looked at again")
        return None
    return known


def _point(pointer: Path, content: Mapping[str, Any], *, may_fail: bool) -> None:
    """Write a pointer that says something new.

    Args:
        may_fail: whether a folder that cannot be written to is passed over: the dataset is there, and found again.

    Raises:
        GltaError: the folder is read-only, or its disk is full.
    """
    if _pointed_at(pointer) == content:
        return
    try:
        with storage_errors(pointer.parent):
            write_sealed_json(pointer, content)
    except GltaError:
        if not may_fail:
            raise


def _known(pointer: Path, component: Component, workspace: Workspace) -> PreparedDataset | None:
    """What a pointer leads to, unless the loader reads something else since."""
    known, loader = _pointed_at(pointer), _loader_identity(component)
    if known is None:
        return None
    # Whatever one of glta's own prepared that reads what it always has stays found, in whatever form it was noted.
    unchanged = component.origin.distribution == OWN_DISTRIBUTION and loader[-1] == OWN_RESULTS_SINCE
    if not unchanged and known.get("loader") != loader:
        return None
    artefact = workspace.published(STAGE, known["fingerprint"])
    return None if artefact is None else PreparedDataset(artefact)


def _identity(settings: DatasetSettings, inputs: Mapping[str, Mapping[str, str]], component: Component) -> str:
    return fingerprint(
        {
            "stage": STAGE,
            "schema_version": SCHEMA_VERSION,
            "settings": settings.model_dump(mode="json", exclude={"source"}),
            "inputs": {role: content["sha256"] for role, content in inputs.items()},
            "loader": _loader_identity(component),
        }
    )


def _loader_identity(component: Component) -> list[str]:
    """As of any component; glta's own loaders go without the distribution, so that what they prepared stays found."""
    return [part for part in component_identity(component) if part != OWN_DISTRIBUTION]


def located(loader: DatasetLoader, source: str | None, downloads: Downloads) -> Mapping[str, Path]:
    """The files of a dataset by role; raises `InputError` where the source is not there or lacks one."""
    if source is None:
        return loader.locate(None, downloads)
    if is_url(source):
        return loader.locate(downloads.url(source), downloads)
    if not source.strip():
        raise InputError("the source has no name", location="dataset.source", hint="--source takes a file or a folder")
    path = Path(source).expanduser()
    if getattr(loader, "takes_patterns", False) and set(source) & set("*?[") and not path.exists():
        return loader.locate(path, downloads)
    try:
        path.stat()
    except (OSError, ValueError) as error:
        # Not there, or a name no file can have; an address of another kind may hold a password.
        reason = "" if isinstance(error, FileNotFoundError) else f": {getattr(error, 'strerror', None) or error}"
        hint = "--source takes a file, a folder or an address that starts with http:// or https://"
        raise InputError(f"no such file or folder{reason}", location=shown_url(source)[:300], hint=hint) from error
    if not (path.is_file() or path.is_dir()):
        raise InputError(
            "is a pipe or a device, and a source is read more than once",
            location=source,
            hint="write it to a file first, and name that file with --source",
        )
    try:
        return loader.locate(path, downloads)
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror or error}",
            location=str(error.filename or source),
            hint="look at its rights",
        ) from error


def _absolute(source: str | None) -> str | None:
    return source if source is None or is_url(source) else str(Path(source).expanduser().absolute())


# ----------------------------------------------------------------------------------------------- the files


def _write(
    settings: DatasetSettings, component: Component, loader: DatasetLoader, files: Mapping[str, Path], folder: Path
) -> dict[str, Any]:
    """Fill `folder` with the prepared dataset and return its counts."""
    with component.named():
        try:
            raw = loader.read(files)
        except MemoryError as error:
            place = ", ".join(str(path) for path in files.values())
            raise GltaError("does not fit into the memory", location=place, hint="take a part of the data") from error
        check_raw(raw)
    interactions, warnings = raw.interactions, list(raw.warnings)
    if settings.split.strategy != "given" and "split" in interactions.collect_schema().names():
        # An ignored column must not decide which of two equal pairs is the duplicate.
        interactions = interactions.drop("split")
        warnings.append(
            f"the source comes divided into parts of its own, which {settings.split.strategy} divides anew: "
            "`--split given` keeps them"
        )
    table = clean(interactions, min_rating=settings.min_rating, kcore=settings.kcore)
    dropped = _merged(raw.dropped, table.dropped)
    with component.named():
        check_account(raw, table.interactions.height + sum(dropped.values()))
    if table.interactions.is_empty():
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in dropped.items())
        raise InputError(
            f"no interaction is left ({reasons or 'there was none'})",
            location=shown_url(settings.source or settings.name),
            hint="look at the file, or lower --kcore and --min-rating",
        )

    require_room(folder, table.interactions.height * LEAST_BYTES_A_ROW)
    if settings.split.strategy in ("leave-last-out", "temporal") and "timestamp" not in table.interactions.columns:
        _refuse_empty_times(settings, raw)
    assigned = _split(settings, table)
    named = pl.Series("split", SPLITS, dtype=pl.Enum(SPLITS)).gather(assigned)
    write_table(folder / INTERACTIONS_FILE, table.interactions.with_columns(named))
    write_table(folder / USERS_FILE, pl.DataFrame({"user": table.user_ids}))
    items = _items(raw, table.item_ids)
    write_table(folder / ITEMS_FILE, items)

    sizes = dict(zip(SPLITS, np.bincount(assigned, minlength=len(SPLITS)).tolist(), strict=True))
    warnings += [*_split_warnings(table, sizes), *_text_warnings(items)]
    if raw.items is not None:
        name = files["items"].name if "items" in files else "the item file"
        described = raw.items.select(pl.col("item").cast(pl.String)).collect()["item"]
        warnings += match_warnings(table.item_ids, described.to_list(), name)
    if not sizes["test"] and settings.split.strategy != "given":
        warnings.append(
            f"nothing is left to test on: no user has {FEWEST_TO_SPLIT} interactions, so all are for training"
        )
    users, catalogue, count = len(table.user_ids), len(table.item_ids), table.interactions.height
    return {
        "dataset": settings.name,
        "users": users,
        "items": catalogue,
        "interactions": count,
        "density": count / (users * catalogue),
        "dropped": dropped,
        "examples": {reason: raw.examples[reason] for reason in dropped if reason in raw.examples},
        "split": sizes,
        "has_text": items["text"].null_count() < items.height,
        "warnings": warnings,
    }


def _refuse_empty_times(settings: DatasetSettings, raw: RawDataset) -> None:
    """Raise `InputError` where there is a column of times without a single one: to name it would not help."""
    if "timestamp" in raw.interactions.collect_schema().names():
        raise InputError(
            f"the split '{settings.split.strategy}' needs times, and the column of times holds none",
            location="dataset.split.strategy",
            hint="use --split ratio, or look at the column",
        )


def _split(settings: DatasetSettings, table: CleanTable) -> np.ndarray:
    rows = table.interactions
    interactions = Interactions.from_pairs(
        rows["user"].to_numpy(),
        rows["item"].to_numpy(),
        user_count=len(table.user_ids),
        item_count=len(table.item_ids),
    )
    timestamps = rows["timestamp"].to_numpy() if "timestamp" in rows.columns else None
    given = rows["split"].to_physical().to_numpy().astype(np.int8) if "split" in rows.columns else None
    return split(interactions, settings.split, timestamps, given)


def _split_warnings(table: CleanTable, sizes: Mapping[str, int]) -> list[str]:
    """What became of a given split that lacks a part."""
    if "split" not in table.interactions.columns:
        return []
    parts = set(table.interactions["split"].unique())
    warnings = []
    if "valid" not in parts:
        warnings.append(
            f"the given split has no validation part: {sizes['valid']:,} of its training interactions were drawn for it"
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
        return ["no item has a text: `align` and `describe-users` need titles or descriptions"]
    return [f"{without:,} of {items.height:,} items have neither title nor description"] if without else []


def _merged(first: Mapping[str, int], second: Mapping[str, int]) -> dict[str, int]:
    reasons = [*first, *(reason for reason in second if reason not in first)]
    merged = {reason: first.get(reason, 0) + second.get(reason, 0) for reason in reasons}
    return {reason: count for reason, count in merged.items() if count}
