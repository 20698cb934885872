"""A log in several files: a folder of parts, or a pattern."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest
from glta_datasets.settings import TableSettings
from glta_datasets.table import Table

from glta_cli.core.errors import InputError
from glta_cli.data.preparation import prepare
from glta_cli.data.prepared import PreparedDataset
from glta_cli.plugin import RawDataset
from glta_cli.recipe.schema import DatasetSettings
from glta_cli.workspace.workspace import Workspace


def read(source: Path, **options: object) -> tuple[RawDataset, pl.DataFrame]:
    table = Table("table", TableSettings.model_validate(options))
    raw = table.read(table.locate(source, None))  # type: ignore[arg-type]
    rows = raw.interactions.collect()
    assert raw.read == rows.height + sum(raw.dropped.values())
    return raw, rows


def prepared(source: Path, workspace: Path) -> tuple[PreparedDataset, bool]:
    return prepare(DatasetSettings(name="table", source=str(source)), Workspace(workspace))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Parts written by a program that leaves marks beside them; the tenth comes last."""
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "part-10.csv").write_text("user,item,date\nc,3,13/04/2020\n")
    (folder / "part-9.csv").write_text("item,date,user\n1,01/02/2020,a\n2,x,b\n")
    (folder / "part-2.csv.gz").write_bytes(gzip.compress(b"user,item,date\nz,9,05/06/2020\n"))
    (folder / "_SUCCESS").write_text("")
    (folder / ".part-9.csv.crc").write_bytes(b"crc")
    return folder


@pytest.mark.parametrize("source", ["log", "log/*", "log/part-*", "l?g/part-[0-9]*"])
def test_parts_are_one_log_in_the_order_of_their_numbers(tmp_path, log, source):
    raw, rows = read(tmp_path / source)
    assert rows["user"].to_list() == ["z", "a", "c"]
    # The last part tells that the day comes first, for all of them.
    assert rows["timestamp"].to_list() == [1591315200, 1580515200, 1586736000]
    assert raw.examples == {"bad time": "line 3 of part-9.csv: '2,x,b'"}


def test_a_pattern_is_a_source_as_a_file_is(tmp_path, log):
    (log / "part-9.csv").write_text("user,item,date\na,1,01/02/2020\n")
    dataset, up_to_date = prepared(log / "part-*", tmp_path / "workspace")
    assert (dataset.summary()["interactions"], up_to_date) == (3, False)
    assert prepared(log / "part-*", tmp_path / "workspace")[1]
    (log / "part-11.csv").write_text("user,item,date\nd,4,01/02/2020\n")
    again, up_to_date = prepared(log / "part-*", tmp_path / "workspace")
    assert (again.summary()["interactions"], up_to_date) == (4, False)


def test_items_beside_parts_are_item_texts(log):
    (log / "items.csv").write_text("item,title\n1,One\n")
    raw, _ = read(log)
    assert raw.items is not None
    assert raw.items.collect().rows() == [("1", "One", None)]


def test_an_id_is_text_where_another_part_has_text(tmp_path):
    pl.DataFrame({"user": [1, 2], "item": [7.0, None], "rating": [1, 2]}).write_parquet(tmp_path / "p1.parquet")
    pl.DataFrame({"user": ["01"], "item": ["x"], "rating": [4.5]}).write_parquet(tmp_path / "p2.parquet")
    _, rows = read(tmp_path / "*.parquet")
    assert rows.rows() == [("1", "7", 1.0), ("2", None, 2.0), ("01", "x", 4.5)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("user,product\nb,2\n", "its item is in column 'product', and that of p1.csv in column 'item'"),
        ("user,item,rating\nb,2,3\n", "its rating is in column 'rating', and that of p1.csv in no column"),
        ("17,2\nb,2\n", "the first line looks like data"),
        ("", "the file is empty"),
    ],
)
def test_a_part_of_another_kind_is_named(tmp_path, text, problem):
    (tmp_path / "p1.csv").write_text("user,item\na,1\n")
    (tmp_path / "p2.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        read(tmp_path / "p*.csv")
    assert str(tmp_path / "p2.csv") in str(caught.value)
    assert problem in str(caught.value)


def test_a_part_with_a_header_alone_adds_nothing(tmp_path):
    (tmp_path / "p1.csv").write_text("user,item\na,1\n")
    (tmp_path / "p2.csv").write_text("user,item\n")
    assert read(tmp_path)[1].rows() == [("a", "1")]
    (tmp_path / "p1.csv").write_text("user,item\n")
    with pytest.raises(InputError, match="there are no rows below the header"):
        read(tmp_path)


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
@pytest.mark.parametrize("options", [{}, {"events": {"buy": 3.0}}])
def test_a_part_that_is_a_link_to_another_is_read_once(tmp_path, log, link, options):
    for path in log.iterdir():
        path.unlink()
    (log / "p1.csv").write_text("user,item,event\na,1,buy\nb,2,buy\n")
    link(log / "p2.csv", log / "p1.csv")
    (log / "p3.csv").write_text("user,item,event\nc,1,buy\n")
    for source in (log, log / "*.csv"):
        raw, rows = read(source, **options)
        assert rows.select("user", "item").rows() == [("a", "1"), ("b", "2"), ("c", "1")]
        assert "p2.csv is the same file as p1.csv: read once" in raw.warnings
        assert options == {} or rows["weight"].to_list() == [3.0, 3.0, 3.0]
    dataset, _ = prepared(log, tmp_path / "workspace")
    # What earlier versions prepared of these files, reading both, stays found: each of them is part of what it is.
    assert len(dataset.artefact.manifest["inputs"]) == 3


@pytest.mark.parametrize(
    ("options", "so"),
    [({}, "are dropped as duplicates"), ({"events": {"buy": 3.0}}, "add up to twice as much")],
)
def test_a_packed_twin_is_told_of_with_what_becomes_of_its_rows(tmp_path, log, options, so):
    for path in log.iterdir():
        path.unlink()
    text = "user,item,event\na,1,buy\nb,2,buy\n"
    (log / "p1.csv").write_text(text)
    (log / "p1.csv.gz").write_bytes(gzip.compress(text.encode()))
    (log / "p2.csv").write_text("user,item,event\na,2,buy\n")
    told = f"p1.csv and p1.csv.gz are both read: is one the other packed? Rows that are in both {so}"
    assert read(log, **options)[0].warnings[0] == told
    assert not [told for told in read(log / "*.csv", **options)[0].warnings if "packed" in told]

    settings = DatasetSettings(name="table", source=str(log), options=options)
    summary = prepare(settings, Workspace(tmp_path / "workspace"))[0].summary()
    assert summary["interactions"] == 3
    assert summary["dropped"].get("duplicate", 0) == (0 if options else 2)
    if options:
        rows = pl.read_parquet(next((tmp_path / "workspace").glob("**/interactions.parquet")))
        assert sorted(rows["weight"].to_list()) == [3.0, 6.0, 6.0]


def test_a_folder_that_holds_anything_else_is_no_log(tmp_path, log):
    (log / "notes.pdf").write_bytes(b"x")
    with pytest.raises(InputError, match=r"there is no file called interactions .*notes.pdf") as caught:
        read(log)
    assert "'log/*.csv'" in str(caught.value.hint)
    with pytest.raises(InputError, match="no file is called so"):
        prepared(tmp_path / "log" / "*.parquet", tmp_path / "workspace")
