"""What every dataset loader promises: `check_dataset` reads a small source and prepares it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel

from glta_cli.core.errors import GltaError, InputError
from glta_cli.core.files import stamp
from glta_cli.data.item_text import plain
from glta_cli.data.loader_outputs import INTERACTION_COLUMNS
from glta_cli.data.preparation import needs_source, prepare
from glta_cli.data.prepared import PreparedDataset
from glta_cli.data.splits import SPLITS
from glta_cli.plugin import DatasetLoader, RawDataset, SeenFile
from glta_cli.recipe.schema import DatasetSettings
from glta_cli.recipe.validation import validated
from glta_cli.testing.contract import Contract, declared
from glta_cli.workspace.workspace import Workspace

# Seconds of the year 5138, milliseconds of 1973.
MOST_SECONDS = 10**11

# What becomes of a missing value, or of a whole number, that went through a float or through str().
NO_IDS = ("None", "nan", "NaN", "<NA>")


def check_dataset(name: str, *, source: Path | None = None, options: Mapping[str, Any] | None = None) -> None:
    """Check what a dataset promises: on a source, by reading it, and without one, by a network that reaches nothing.

    Args:
        name: as a recipe would select it by `dataset.name`.
        source: a file or folder with some records, such as `--source` takes; it is read several times. Without it
            only what needs no data is checked: the declaration, and what happens where nothing can be fetched.
        options: the dataset's own settings, `dataset.options` of a recipe.

    Raises:
        ContractError: a promise is broken; names all that are.
    """
    contract = Contract(f"dataset '{name}'")
    component, own = declared(contract, "dataset", name, options)
    raw = dataset_promises(contract, component.target(), name, own, source)
    if raw is not None:
        values = {"name": name, "source": str(source), "most_dropped": 1, "options": dict(options or {})}
        _preparation_promises(contract, validated(DatasetSettings, values, ("dataset",), {}), raw)
    contract.settle()


def dataset_promises(
    contract: Contract,
    target: Callable[..., DatasetLoader],
    name: str,
    options: BaseModel,
    source: Path | None = None,
) -> RawDataset | None:
    """Check a class that need not be installed; what is broken is collected in `contract`.

    Args:
        target: the class, called with `name` and `options`.

    Returns:
        What it read from the source.
    """
    with contract.promise("constructing one is given name and options", decisive=True):
        loader = target(name, options)
    _fetch_promises(contract, loader)
    if source is None:
        return None
    before = _stamps(source)
    files = _location_promises(contract, loader, source)
    raw = _reading_promises(contract, target(name, options), files)
    _interaction_promises(contract, raw)
    if raw.items is not None:
        _item_promises(contract, raw.items, raw.interactions)
    _report_promises(contract, raw)
    if source.is_dir():
        _incomplete_source_promises(contract, loader, source, files)
    with contract.promise("reading writes nothing: the source and what lies beside it stay as they are"):
        changed = sorted(path.name for path, _ in before.items() ^ _stamps(source).items())
        assert not changed, f"changed: {', '.join(changed[:5])}"
    return raw


# ------------------------------------------------------------------------------------------------ what is there


class _Unreachable:
    """A network that reaches nothing, and knows what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def url(self, url: str, *, size: int | None = None, sha256: str | None = None) -> Path:
        self.asked.append(url)
        raise GltaError("cannot be downloaded: nothing can be reached", location=url)

    def pypi(self, requirement: str, *, sha256: str) -> Path:
        self.asked.append(requirement)
        raise GltaError("pip cannot fetch it: nothing can be reached", location=requirement)


def _stamps(source: Path) -> dict[Path, tuple[int, ...]]:
    """Size and time of the source, of all files below it, or of those beside it."""
    paths = source.rglob("*") if source.is_dir() else source.parent.iterdir()
    return {path: tuple(stamp(path)) for path in paths if path.is_file()}


def _fetch_promises(contract: Contract, loader: DatasetLoader) -> None:
    if needs_source(loader):
        with contract.promise("`needs_source` is true: without a source, locate() raises an InputError"):
            found, error = _unfetched(loader, _Unreachable())
            assert isinstance(error, InputError), f"it gives {found!r}" if error is None else f"it raises {error!r}"
        return
    network = _Unreachable()
    with contract.promise(
        "`needs_source` is not true: without a source, locate() asks `fetch`, and its GltaError reaches the user"
    ):
        found, error = _unfetched(loader, network)
        assert network.asked, f"`fetch` is not asked; a loader that can fetch nothing sets `needs_source` ({error})"
        assert error is not None, f"nothing can be fetched, and it gives {found!r}"


def _unfetched(loader: DatasetLoader, network: _Unreachable) -> tuple[Any, GltaError | None]:
    """What locate() gives without a source, or the error it tells the user."""
    try:
        return loader.locate(None, network), None
    except GltaError as error:
        return None, error


def _location_promises(contract: Contract, loader: DatasetLoader, source: Path) -> Mapping[str, Path]:
    network = _Unreachable()
    with contract.promise("locate() gives the source's files by role: texts to paths of existing files", decisive=True):
        files = loader.locate(source, network)
        assert isinstance(files, Mapping), f"it gives {files!r}"
        assert files, "it gives none"
        for role, path in files.items():
            assert isinstance(role, str), f"the role {role!r} is no text"
            assert isinstance(path, Path), f"{role} is {path!r}, no pathlib.Path"
            assert path.is_file(), f"{role} is {path}, which is no file"
    with contract.promise("with a source, locate() fetches nothing"):
        assert not network.asked, f"asked for: {', '.join(network.asked)}"
    return files


def _incomplete_source_promises(
    contract: Contract, loader: DatasetLoader, source: Path, files: Mapping[str, Path]
) -> None:
    with (
        contract.promise("an empty folder as source raises an InputError, not something else"),
        tempfile.TemporaryDirectory() as folder,
    ):
        assert _refuses(loader, Path(folder)), "it is read without a word"
    with contract.promise("a source that lacks one of its files is read without it, or raises an InputError"):
        whole = source.absolute()
        for path in files.values():
            if path.absolute().is_relative_to(whole):
                with tempfile.TemporaryDirectory() as folder:
                    _link_all_but(path.absolute(), whole, Path(folder))
                    _refuses(loader, Path(folder))


def _link_all_but(missing: Path, source: Path, folder: Path) -> None:
    for path in source.rglob("*"):
        copy = folder / path.relative_to(source)
        if path.is_dir():
            copy.mkdir(parents=True, exist_ok=True)
        elif path != missing:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.symlink_to(path)


def _refuses(loader: DatasetLoader, source: Path) -> bool:
    """Whether an InputError tells the user that the source cannot be read; any other error breaks the promise."""
    try:
        raw = loader.read(loader.locate(source, _Unreachable()))
        raw.interactions.collect()
        if raw.items is not None:
            raw.items.collect()
    except InputError:
        return True
    return False


# ------------------------------------------------------------------------------------------------ what is read


def _reading_promises(contract: Contract, loader: DatasetLoader, files: Mapping[str, Path]) -> RawDataset:
    """As a loader that has located nothing itself: read() is given all it needs."""
    with contract.promise("read() takes what locate() gave and gives a RawDataset of lazy frames", decisive=True):
        raw = loader.read(files)
        assert isinstance(raw, RawDataset), f"it gives {type(raw).__name__}"
        assert isinstance(raw.interactions, pl.LazyFrame), f"interactions are {type(raw.interactions).__name__}"
        assert raw.items is None or isinstance(raw.items, pl.LazyFrame), f"items are {type(raw.items).__name__}"
        rows = _as_texts(raw.interactions.collect())
        items = None if raw.items is None else raw.items.collect()
    with contract.promise("read() gives the same every time, in the same order"):
        again = loader.read(files)
        assert _as_texts(again.interactions.collect()).equals(rows), "the interactions differ"
        if items is not None:
            assert again.items is not None, "the second time there are no items"
            assert again.items.collect().equals(items), "the items differ"
        assert again.dropped == raw.dropped, f"dropped: {raw.dropped}, then {again.dropped}"
        assert again.warnings == raw.warnings, f"warnings: {raw.warnings}, then {again.warnings}"
    # Parsed once for all that follows.
    return replace(raw, interactions=rows.lazy(), items=None if items is None else items.lazy())


def _as_texts(rows: pl.DataFrame) -> pl.DataFrame:
    """Categories, as which ids may come, as the texts they stand for."""
    kinds = [name for name, kind in rows.schema.items() if isinstance(kind, pl.Categorical)]
    return rows.with_columns(rows[name].cast(pl.String) for name in kinds)


def _interaction_promises(contract: Contract, raw: RawDataset) -> None:
    rows = raw.interactions.collect()
    with contract.promise(
        "interactions have columns user and item, optionally rating, timestamp, split, weight and seen, and no others",
        decisive=True,
    ):
        listed = f"they have {', '.join(rows.columns) or 'none'}"
        assert {"user", "item"} <= set(rows.columns), listed
        assert set(rows.columns) <= INTERACTION_COLUMNS, listed
    with contract.promise("users and items are strings: an id is the source's own text", decisive=True):
        for column in ("user", "item"):
            assert rows[column].dtype == pl.String, f"{column} is {rows[column].dtype}"
    with contract.promise("ids never went through a number or str(): no 1.0 for 1, no None or nan for what is missing"):
        for column in ("user", "item"):
            _check_ids(column, rows[column].drop_nulls())
    with contract.promise("ratings are floats, timestamps whole seconds; where there are none, there is no column"):
        if "rating" in rows.columns:
            assert rows["rating"].dtype.is_float(), f"rating is {rows['rating'].dtype}"
        if "timestamp" in rows.columns:
            assert rows["timestamp"].dtype.is_integer(), f"timestamp is {rows['timestamp'].dtype}"
            latest = max(rows["timestamp"].drop_nulls().to_list(), default=0)
            assert latest < MOST_SECONDS, f"{latest} are no seconds: milliseconds?"
    if "weight" in rows.columns:
        with contract.promise("weights are positive numbers: what each row counts for"):
            assert rows["weight"].dtype.is_numeric(), f"weight is {rows['weight'].dtype}"
            wrong = rows["weight"].drop_nulls().filter(~(rows["weight"].drop_nulls() > 0))
            assert wrong.is_empty(), f"one is {wrong[0]}"
    if "seen" in rows.columns:
        with contract.promise("`seen` is true or false"):
            assert rows["seen"].dtype == pl.Boolean, f"it is {rows['seen'].dtype}"
    if "split" in rows.columns:
        with contract.promise("a given split says train, valid or test of every row, and some are for training"):
            other = sorted({str(part) for part in rows["split"]} - set(SPLITS))
            assert not other, f"it says {other[0]}"
            assert (rows["split"] == "train").any(), "none is"
    with contract.promise("some rows are complete: user, item and, where others have them, rating and timestamp"):
        assert rows.height, "there are no rows"
        assert _complete(rows, raw).height, f"none of {rows.height} is"


def _check_ids(column: str, ids: pl.Series) -> None:
    wrong = [word for word in NO_IDS if (ids == word).any()]
    assert not wrong, f"a {column} is called {wrong[0]}"
    assert not (len(ids) and ids.str.contains(r"^\d+\.0$").all()), f"every {column} ends in .0, such as {ids[0]}"


def _complete(rows: pl.DataFrame, raw: RawDataset) -> pl.DataFrame:
    """The rows that preparing keeps: others lack an id, or a rating or timestamp that some row has."""
    if raw.keeps_unrated:
        rows = rows.drop("rating", strict=False)
    named = [pl.col(name).is_not_null() & (pl.col(name).str.strip_chars() != "") for name in ("user", "item")]
    # Of what is seen, nothing said is true.
    known = [name for name in rows.columns if rows[name].null_count() < rows.height and name != "seen"]
    numbers = [name for name in known if rows[name].dtype.is_float()]
    return rows.filter(
        *named, *(pl.col(name).is_not_null() for name in known), *(pl.col(name).is_not_nan() for name in numbers)
    )


def _item_promises(contract: Contract, items: pl.LazyFrame, interactions: pl.LazyFrame) -> None:
    with contract.promise("items have columns item and title, optionally description, and no others", decisive=True):
        names = items.collect_schema().names()
        listed = f"they have {', '.join(names) or 'none'}"
        assert {"item", "title"} <= set(names) <= {"item", "title", "description"}, listed
    described = items.collect()
    with contract.promise("ids, titles and descriptions of items are strings", decisive=True):
        for column in described.columns:
            # A column in which nothing stands has no type of its own.
            kind = described[column].dtype
            assert kind == pl.String or (kind == pl.Null and column != "item"), f"{column} is {kind}"
    with contract.promise("items are described under the ids the interactions have"):
        met = interactions.select("item").collect()["item"]
        known = described["item"].is_in(met.implode()).any()
        assert known, f"none of {described['item'].head(3).to_list()} is among {met.head(3).to_list()} and so on"
    with contract.promise("where items are given, some of them have a text"):
        written = [column for column in described.columns if column != "item"]
        assert any(plain(text) for column in written for text in described[column]), "no title and no description"


def _report_promises(contract: Contract, raw: RawDataset) -> None:
    with contract.promise("`dropped` counts records by reason: texts to whole numbers, none negative"):
        assert isinstance(raw.dropped, dict), f"it is {raw.dropped!r}"
        for reason, count in raw.dropped.items():
            assert isinstance(reason, str), f"the reason {reason!r} is no text"
            assert type(count) is int, f"{reason} is counted as {count!r}"
            assert count >= 0, f"{reason} is counted as {count}"
    with contract.promise("`read`, where it is counted, is the interactions and all that was dropped"):
        rows = raw.interactions.select("user").collect().height + sum(raw.dropped.values())
        assert raw.read in (None, rows), f"it is {raw.read!r}, not {rows}"
    with contract.promise("`examples` shows a record of a reason of `dropped`"):
        assert isinstance(raw.examples, dict), f"it is {raw.examples!r}"
        assert raw.examples.keys() <= raw.dropped.keys(), f"of these nothing was dropped: {raw.examples!r}"
        assert all(isinstance(example, str) for example in raw.examples.values()), f"they are {raw.examples!r}"
    with contract.promise("`no_loss` names reasons of `dropped`, in texts"):
        assert isinstance(raw.no_loss, tuple), f"it is {raw.no_loss!r}"
        assert all(isinstance(reason, str) for reason in raw.no_loss), f"it is {raw.no_loss!r}"
    with contract.promise("`files` are the files that were read, with columns that are taken for something"):
        assert isinstance(raw.files, tuple), f"it is {raw.files!r}"
        assert all(isinstance(file, SeenFile) for file in raw.files), f"they are {raw.files!r}"
        assert all(any(column.role for column in file.columns) for file in raw.files), f"they are {raw.files!r}"
    if raw.place_of is not None:
        with contract.promise("`place_of` says where a row of the interactions stands, in a text"):
            assert isinstance(place := raw.place_of(0), str), f"of the first row it says {place!r}"
    with contract.promise("`warnings` are sentences for the user"):
        assert isinstance(raw.warnings, list), f"they are {raw.warnings!r}"
        assert all(isinstance(w, str) and w.strip() for w in raw.warnings), f"they are {raw.warnings!r}"


# --------------------------------------------------------------------------------------------- what comes of it


def _preparation_promises(contract: Contract, settings: DatasetSettings, raw: RawDataset) -> None:
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        with contract.promise("`glta prepare` publishes it, every user and item by its own id", decisive=True):
            dataset, _ = prepare(settings, workspace)
            complete = _complete(raw.interactions.collect(), raw)
            unmet = set(_listed_items(raw)) - set(complete["item"])
            for column, found in (("user", dataset.user_ids), ("item", dataset.item_ids)):
                other = set(complete[column]) ^ (set(found) - unmet)
                assert not other, f"{len(other)} {column}s are on one side only, such as '{min(other)}'"
        with contract.promise("prepared again from the same source, it is up to date"):
            _, up_to_date = prepare(settings, workspace)
            assert up_to_date, "it is prepared anew"
        rows = raw.interactions.collect()
        if "split" in rows.columns:
            with contract.promise("`dataset.split.strategy: given` tests on the test part, without pairs of others"):
                _assert_tested(prepare(_as_given(settings), workspace)[0], _complete(rows, raw))
        if raw.items is not None:
            with contract.promise(
                "the titles that were read are those of the prepared dataset, the first of each item"
            ):
                _assert_described(dataset, raw.items.collect())


def _listed_items(raw: RawDataset) -> list[str]:
    """The items of a loader whose items are the whole catalogue."""
    if not raw.catalogue or raw.items is None:
        return []
    return raw.items.select("item").collect()["item"].drop_nulls().to_list()


def _as_given(settings: DatasetSettings) -> DatasetSettings:
    return settings.model_copy(update={"split": settings.split.model_copy(update={"strategy": "given"})})


def _assert_tested(dataset: PreparedDataset, rows: pl.DataFrame) -> None:
    pairs = {part: set(rows.filter(split=part).select("user", "item").iter_rows()) for part in SPLITS}
    test = dataset.split("test")
    indices = zip(test.users.tolist(), test.items.tolist(), strict=True)
    tested = {(dataset.user_ids[user], dataset.item_ids[item]) for user, item in indices}
    differing = tested ^ (pairs["test"] - pairs["train"] - pairs["valid"])
    assert not differing, f"{len(differing)} pairs are on one side only, such as {min(differing)}"


def _assert_described(dataset: PreparedDataset, items: pl.DataFrame) -> None:
    assert dataset.has_text, "no item has one"
    titles = dict(zip(dataset.item_ids, dataset.titles, strict=True))
    # Releases repeat items; of several records the first counts.
    first = items.unique("item", keep="first", maintain_order=True)
    for item, title in zip(first["item"], first["title"], strict=True):
        expected = plain(title)
        if item in titles and expected is not None:
            assert titles[item] == expected, f"{item} is called {titles[item]!r}, not {expected!r}"
