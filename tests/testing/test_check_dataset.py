"""Datasets that keep every promise, and for each promise one that breaks it."""

from __future__ import annotations

import gzip
import json
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from glta_datasets.settings import TableSettings
from glta_datasets.table import Table

from glta_cli.core.errors import GltaError
from glta_cli.plugin import RawDataset, SeenFile
from glta_cli.plugin.registry import installed
from glta_cli.testing import ContractError, check_dataset
from glta_cli.testing.contract import Contract
from glta_cli.testing.dataset import dataset_promises

# ------------------------------------------------------------------------------------------------ promises kept


def gzipped(path: Path, records: Sequence[Mapping[str, object]]) -> None:
    path.write_bytes(gzip.compress("".join(f"{json.dumps(record)}\n" for record in records).encode()))


def test_a_table_keeps_every_promise(toy_table: Path) -> None:
    check_dataset("table", source=toy_table)


def test_a_file_and_options_do_too(toy_table: Path) -> None:
    check_dataset("table", source=toy_table / "interactions.csv", options={"items": "items.csv", "title": "title"})


def test_a_log_of_events_keeps_every_promise(shop_folder: Path) -> None:
    options = {"events": {"purchase": 3, "cart": 2, "view": 1}, "seen": ["purchase"], "weight": "qty"}
    check_dataset("table", source=shop_folder / "log.csv", options=options)


def test_movielens_keeps_every_promise(shared_data: Path) -> None:
    check_dataset("movielens-100k", source=shared_data / "ml-100k")


def test_amazon_keeps_every_promise_with_repeated_items(tmp_path: Path) -> None:
    review = {"reviewerID": "A1", "asin": "B1", "overall": 5.0, "unixReviewTime": 1000}
    gzipped(tmp_path / "Software_5.json.gz", [review, {**review, "asin": "B2"}, {**review, "reviewerID": "A2"}])
    items = [{"asin": "B1", "title": "Tax &amp; Co"}, {"asin": "B1", "title": "repeated"}, {"asin": "B2", "title": ""}]
    gzipped(tmp_path / "meta_Software.json.gz", items)
    check_dataset("amazon-software", source=tmp_path)


def test_goodreads_keeps_every_promise_with_incomplete_records(tmp_path: Path) -> None:
    shelved: dict[str, Any] = {
        "user_id": "8842281e",
        "book_id": "7",
        "rating": "4",
        "date_added": "Tue Nov 17 11:37:35 -0800 2015",
    }
    records = [shelved, {**shelved, "user_id": "9", "date_added": "someday"}, {**shelved, "book_id": None}]
    gzipped(tmp_path / "goodreads_interactions_poetry.json.gz", records)
    gzipped(tmp_path / "goodreads_books_poetry.json.gz", [{"book_id": "7", "title": "Leaves of Grass"}])
    check_dataset("goodreads-poetry", source=tmp_path)


def test_a_divided_dataset_keeps_every_promise_with_pairs_in_two_parts(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("0 1 2 3 4 2\n1 2 3\n")
    (tmp_path / "valid.txt").write_text("0 5 1\n1 1\n")
    (tmp_path / "test.txt").write_text("0 6 5\n1 4 4\n2\n")
    for name in ("lightgcn-split", "lightgcn-gowalla"):
        check_dataset(name, source=tmp_path)


@pytest.mark.parametrize(
    "name",
    ["table", "movielens-100k", "movielens-1m", "amazon-sports", "goodreads-poetry", "lightgcn-gowalla"],
)
def test_without_a_source_what_needs_no_data_is_checked(name: str) -> None:
    check_dataset(name)


def test_an_unknown_dataset_is_a_broken_promise() -> None:
    with pytest.raises(ContractError, match="no dataset is called 'tabel'"):
        check_dataset("tabel")


# ---------------------------------------------------------------------------------------------- promises broken


def report_of(target: Callable[..., Any], source: Path | None) -> str:
    """What the check says of a class; nothing where it keeps every promise."""
    contract = Contract("dataset 'mine'")
    try:
        dataset_promises(contract, target, "mine", TableSettings(), source)
        contract.settle()
    except ContractError as error:
        return str(error)
    return ""


def rows_changed(change: Callable[[pl.LazyFrame], pl.LazyFrame]) -> type[Table]:
    """A table whose interactions become `change(interactions)`."""

    def apply(raw: RawDataset) -> None:
        raw.interactions = change(raw.interactions)

    return read_changed(apply)


def items_changed(change: Callable[[pl.LazyFrame], pl.LazyFrame]) -> type[Table]:
    """A table whose items become `change(items)`."""

    def apply(raw: RawDataset) -> None:
        if raw.items is not None:
            raw.items = change(raw.items)

    return read_changed(apply)


def read_changed(change: Callable[[RawDataset], Any]) -> type[Table]:
    """A table that gives what `change` makes of what was read, in place or anew."""

    class Changed(Table):
        def read(self, files: Mapping[str, Path]) -> RawDataset:
            raw = super().read(files)
            found: RawDataset = change(raw) or raw
            return found

    return Changed


def put(raw: RawDataset, name: str, value: Any) -> None:
    setattr(raw, name, value)


def located(change: Callable[[dict[Any, Any], Any], Any]) -> type[Table]:
    """A table that locates what `change(files, fetch)` makes of the files."""

    class Located(Table):
        def locate(self, source: Path | None, fetch: Any) -> Any:
            return change(dict(super().locate(source, fetch)), fetch)

    return Located


class NamesNoSource(Table):
    needs_source = False  # type: ignore[misc]


class FallsWithoutSource(Table):
    def locate(self, source: Path | None, fetch: Any) -> Any:
        return super().locate(Path(str(source)) if source is None else source, fetch)


class FindsNothing(Table):
    def locate(self, source: Path | None, fetch: Any) -> Any:
        return {} if source is None else super().locate(source, fetch)


class Swallows(Table):
    needs_source = False  # type: ignore[misc]

    def locate(self, source: Path | None, fetch: Any) -> Any:
        if source is not None:
            return super().locate(source, fetch)
        try:
            return {"interactions": fetch.url("https://example.org/interactions.csv")}
        except GltaError:
            return {}


class FailsOtherwise(Swallows):
    def locate(self, source: Path | None, fetch: Any) -> Any:
        found = super().locate(source, fetch)
        return found or {"interactions": found["interactions"]}


class FallsOverAnEmptyFolder(Table):
    def locate(self, source: Path | None, fetch: Any) -> Any:
        if source is not None and source.is_dir():
            return {"interactions": next(source.glob("interactions.*")), "items": source / "items.csv"}
        return super().locate(source, fetch)


class ReadsAnEmptyFolder(Table):
    def locate(self, source: Path | None, fetch: Any) -> Any:
        if source is not None and not any(source.iterdir()):
            return {}
        return super().locate(source, fetch)

    def read(self, files: Mapping[str, Path]) -> RawDataset:
        return super().read(files) if files else RawDataset(pl.LazyFrame({"user": [], "item": []}))


class NeedsItsItems(Table):
    def read(self, files: Mapping[str, Path]) -> RawDataset:
        return super().read({"interactions": files["interactions"], "items": files["items"]})


class RemembersWhatItLocated(Table):
    def locate(self, source: Path | None, fetch: Any) -> Any:
        self.files = super().locate(source, fetch)
        return self.files

    def read(self, files: Mapping[str, Path]) -> RawDataset:
        return super().read(self.files)


class LeavesAnIndex(Table):
    def read(self, files: Mapping[str, Path]) -> RawDataset:
        files["interactions"].with_suffix(".index").write_text("1")
        return super().read(files)


def fetching(files: dict[Any, Any], fetch: Any) -> dict[Any, Any]:
    try:
        fetch.url("https://example.org/newer.csv")
    except GltaError:
        return files
    return files


READS = count()


def as_float(column: str) -> pl.Expr:
    """Numbers such as 17.0, from ids such as u17."""
    return pl.col(column).cast(pl.String).str.slice(1).cast(pl.Float64).cast(pl.String)


BROKEN: list[tuple[str, Callable[..., Any]]] = [
    ("constructing one is given name and options", lambda name: None),
    ("`needs_source` is true", FallsWithoutSource),
    ("`needs_source` is true", FindsNothing),
    ("`needs_source` is not true", NamesNoSource),
    ("`needs_source` is not true", Swallows),
    ("`needs_source` is not true", FailsOtherwise),
    ("locate() gives the source's files by role", located(lambda files, fetch: {})),
    ("locate() gives the source's files by role", located(lambda files, fetch: [*files.values()])),
    ("locate() gives the source's files by role", located(lambda files, fetch: {r: str(p) for r, p in files.items()})),
    ("locate() gives the source's files by role", located(lambda files, fetch: {0: files["interactions"]})),
    ("locate() gives the source's files by role", located(lambda files, fetch: {**files, "more": Path("absent")})),
    ("with a source, locate() fetches nothing", located(fetching)),
    ("an empty folder as source raises an InputError", FallsOverAnEmptyFolder),
    ("an empty folder as source raises an InputError", ReadsAnEmptyFolder),
    ("a source that lacks one of its files", NeedsItsItems),
    ("reading writes nothing", LeavesAnIndex),
    ("read() takes what locate() gave", RemembersWhatItLocated),
    ("read() takes what locate() gave", read_changed(lambda raw: raw.interactions)),
    ("read() takes what locate() gave", read_changed(lambda raw: put(raw, "interactions", raw.interactions.collect()))),
    ("read() takes what locate() gave", read_changed(lambda raw: put(raw, "items", {"i1": "a film"}))),
    ("read() gives the same every time", rows_changed(lambda rows: rows.slice(next(READS)))),
    ("read() gives the same every time", items_changed(lambda items: items.slice(next(READS) % 2))),
    ("read() gives the same every time", read_changed(lambda raw: put(raw, "dropped", {"broken": next(READS)}))),
    ("read() gives the same every time", read_changed(lambda raw: raw.warnings.append(f"read {next(READS)}"))),
    ("interactions have columns user and item", rows_changed(lambda rows: rows.rename({"user": "reader"}))),
    ("interactions have columns user and item", rows_changed(lambda rows: rows.with_columns(price=1.0))),
    ("users and items are strings", rows_changed(lambda rows: rows.with_columns(item=pl.lit(1)))),
    ("ids never went through a number", rows_changed(lambda rows: rows.with_columns(as_float("user")))),
    ("ids never went through a number", rows_changed(lambda rows: rows.with_columns(item=pl.lit("nan")))),
    ("ratings are floats", rows_changed(lambda rows: rows.with_columns(rating=5))),
    ("ratings are floats", rows_changed(lambda rows: rows.cast({"timestamp": pl.Float64}))),
    ("ratings are floats", rows_changed(lambda rows: rows.with_columns(timestamp=1_500_000_000_000))),
    ("weights are positive numbers", rows_changed(lambda rows: rows.with_columns(weight=0.0))),
    ("weights are positive numbers", rows_changed(lambda rows: rows.with_columns(weight=pl.lit("heavy")))),
    ("`seen` is true or false", rows_changed(lambda rows: rows.with_columns(seen=1))),
    ("a given split says", rows_changed(lambda rows: rows.with_columns(split=pl.lit("dev")))),
    ("a given split says", rows_changed(lambda rows: rows.with_columns(split=pl.lit(None, pl.String)))),
    ("a given split says", rows_changed(lambda rows: rows.with_columns(split=pl.lit("test")))),
    ("some rows are complete", rows_changed(lambda rows: rows.head(0))),
    ("some rows are complete", rows_changed(lambda rows: rows.with_columns(user=pl.lit(" ")))),
    ("some rows are complete", rows_changed(lambda rows: rows.with_columns(item=pl.lit(None, pl.String)))),
    ("items have columns item and title", items_changed(lambda items: items.select("item", "description"))),
    ("items have columns item and title", items_changed(lambda items: items.with_columns(price=1.0))),
    ("ids, titles and descriptions of items are strings", items_changed(lambda items: items.with_columns(title=1))),
    ("items are described under the ids", items_changed(lambda items: items.with_columns(as_float("item")))),
    ("where items are given, some of them have a text", items_changed(lambda items: items.with_columns(title=None))),
    ("`dropped` counts records by reason", read_changed(lambda raw: put(raw, "dropped", {"broken": -1}))),
    ("`dropped` counts records by reason", read_changed(lambda raw: put(raw, "dropped", {"broken": 0.5}))),
    ("`read`, where it is counted", read_changed(lambda raw: put(raw, "read", raw.read + 1))),
    ("`examples` shows a record", read_changed(lambda raw: put(raw, "examples", {"broken": "line 1"}))),
    ("`no_loss` names reasons", read_changed(lambda raw: put(raw, "no_loss", ["k-core"]))),
    ("`files` are the files", read_changed(lambda raw: put(raw, "files", ("log.csv",)))),
    ("`files` are the files", read_changed(lambda raw: put(raw, "files", (SeenFile(Path("log.csv"), {}, ()),)))),
    ("`place_of` says where", read_changed(lambda raw: put(raw, "place_of", lambda row: row))),
    ("`warnings` are sentences", read_changed(lambda raw: put(raw, "warnings", "no titles"))),
    ("`warnings` are sentences", read_changed(lambda raw: put(raw, "warnings", [None]))),
]


@pytest.fixture
def source(toy_table: Path, tmp_path: Path) -> Path:
    """A copy of the toy table that a loader may spoil."""
    folder = tmp_path / "source"
    folder.mkdir()
    for path in toy_table.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.mark.parametrize(("promise", "target"), BROKEN, ids=[f"{n}-{text[:40]}" for n, (text, _) in enumerate(BROKEN)])
def test_a_broken_promise_is_named(source: Path, promise: str, target: Callable[..., Any]) -> None:
    report = report_of(target, source)
    assert report.startswith("dataset 'mine' breaks ")
    assert f"\n  - {promise}" in report


def test_the_report_says_what_was_seen(source: Path) -> None:
    milliseconds = rows_changed(lambda rows: rows.with_columns(timestamp=1_500_000_000_000))
    assert report_of(milliseconds, source) == (
        "dataset 'mine' breaks 1 promise of its kind\n"
        "  - ratings are floats, timestamps whole seconds; where there are none, there is no column\n"
        "      1500000000000 are no seconds: milliseconds?"
    )
    assert "\n      they have reader, item, timestamp" in report_of(
        rows_changed(lambda rows: rows.rename({"user": "reader"})), source
    )


def test_a_class_that_keeps_every_promise_need_not_be_installed(source: Path) -> None:
    assert report_of(Table, source) == ""
    assert report_of(Table, source / "interactions.csv") == ""
    assert report_of(Table, None) == ""


def test_a_source_may_be_named_from_where_one_is(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(source.parent)
    assert report_of(Table, Path("source")) == ""
    assert "\n  - a source that lacks one of its files" in report_of(NeedsItsItems, Path("source"))


def test_every_promise_can_be_broken(source: Path) -> None:
    """A promise that nothing above breaks would be one that is never checked."""
    texts: list[str] = []

    class Listening(Contract):
        def promise(self, text: str, *, decisive: bool = False) -> Any:
            texts.append(text)
            return super().promise(text, decisive=decisive)

    dataset_promises(Listening("dataset 'table'"), Table, "table", TableSettings(), source)
    named = tuple(promise for promise, _ in BROKEN)
    assert [text for text in texts if not text.startswith(named)] == []


# ---------------------------------------------------------------------------------------- installed and prepared


PLUGIN = """
    from glta_cli.plugin import DatasetDeclaration, hookimpl

    @hookimpl
    def glta_datasets():
        yield DatasetDeclaration(
            name="mine", summary="mine", target="mine_loader:Mine", config="glta_datasets.settings:TableSettings"
        )
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Install a plugin whose loader has the given body; it is `mine` until the test ends."""

    def write(body: str) -> None:
        folder = tmp_path / "site"
        information = folder / "mine-1.0.dist-info"
        information.mkdir(parents=True)
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
        (information / "entry_points.txt").write_text("[glta]\nmine = mine_plugin\n")
        (folder / "mine_plugin.py").write_text(textwrap.dedent(PLUGIN))
        (folder / "mine_loader.py").write_text(textwrap.dedent(body))
        monkeypatch.syspath_prepend(str(folder))
        installed.cache_clear()

    yield write
    installed.cache_clear()
    for name in ("mine_plugin", "mine_loader"):
        sys.modules.pop(name, None)


def test_an_installed_loader_is_prepared_too(install: Callable[[str], None], source: Path) -> None:
    install("from glta_datasets.table import Table as Mine")
    check_dataset("mine", source=source)


@pytest.mark.parametrize(
    ("promise", "read"),
    [
        ("`glta prepare` publishes it", "raw.interactions = raw.interactions.head(20 if self.reads > 1 else 99)"),
        ("the titles that were read", "raw.items = raw.items.with_columns(title=pl.lit(f'title {self.reads > 1}'))"),
    ],
)
def test_what_is_read_otherwise_when_it_is_prepared_is_named(
    install: Callable[[str], None], source: Path, promise: str, read: str
) -> None:
    """The loader reads one thing from a file it has located itself, and another from one it is only given."""
    install(f"""
        import polars as pl
        from glta_datasets.table import Table

        class Mine(Table):
            reads = 0

            def locate(self, source, fetch):
                self.reads += 2
                return super().locate(source, fetch)

            def read(self, files):
                raw = super().read(files)
                {read}
                return raw
    """)
    with pytest.raises(ContractError) as caught:
        check_dataset("mine", source=source)
    assert f"\n  - {promise}" in str(caught.value)


def test_files_that_are_others_every_time_are_named(install: Callable[[str], None], source: Path) -> None:
    install("""
        import tempfile
        from itertools import count
        from pathlib import Path
        from glta_datasets.table import Table

        calls = count()

        class Mine(Table):
            def locate(self, source, fetch):
                files = dict(super().locate(source, fetch))
                copy = Path(tempfile.mkdtemp()) / "interactions.csv"
                copy.write_text(files["interactions"].read_text() + "u0,i0,1\\n" * next(calls))
                return {**files, "interactions": copy}
    """)
    with pytest.raises(ContractError) as caught:
        check_dataset("mine", source=source)
    assert "\n  - prepared again from the same source, it is up to date" in str(caught.value)
