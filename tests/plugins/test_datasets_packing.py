"""Files packed one way or another, in one encoding or another, damaged, endless, or no files at all."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import lzma
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import zstandard
from glta_datasets.packing import LIMIT_VARIABLE
from glta_datasets.settings import TableSettings
from glta_datasets.table import Table

from glta_cli.core.errors import InputError
from glta_cli.data.preparation import prepare
from glta_cli.data.prepared import PreparedDataset
from glta_cli.recipe.schema import DatasetSettings
from glta_cli.workspace.workspace import Workspace

LOG = b"user,item\na,1\nb,1\nb,2\n"
REVIEW = json.dumps({"reviewerID": "A1", "asin": "B1", "overall": 5.0, "unixReviewTime": 1000})


def zipped(content: bytes, *names: str) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names or ("log.csv",):
            file.writestr(name, content)
    return archive.getvalue()


def prepared(source: Path, name: str = "table", **options: object) -> PreparedDataset:
    settings = DatasetSettings(name=name, source=str(source), options=options)
    return prepare(settings, Workspace(source.parent / "workspace"))[0]


@pytest.mark.parametrize("packed", [gzip.compress, bz2.compress, lzma.compress, zipped, zstandard.compress])
@pytest.mark.parametrize("name", ["log.csv", "LOG.CSV"])
def test_what_packs_a_file_is_told_by_its_bytes(tmp_path, packed, name):
    (tmp_path / name).write_bytes(packed(LOG))
    assert prepared(tmp_path / name).user_ids == ["a", "b"]


def test_zstd_is_read_to_the_end_of_its_last_frame(tmp_path):
    rows = [f"u{n},i{n % 50}\n" for n in range(40_000)]
    frames = [zstandard.compress("".join(rows[start : start + 10_000]).encode()) for start in range(0, 40_000, 10_000)]
    (tmp_path / "log.csv.zst").write_bytes(b"".join([zstandard.compress(b"user,item\n"), *frames]))
    assert prepared(tmp_path / "log.csv.zst").summary()["interactions"] == 40_000


@pytest.mark.parametrize(
    ("name", "packed"),
    [
        ("LOG.CSV.GZ", gzip.compress),
        ("log.csv.ZST", zstandard.compress),
        ("log.csv.bz2", bz2.compress),
        ("log.Csv.xz", lzma.compress),
        ("log.csv.zip", zipped),
        ("log.zip", zipped),
    ],
)
def test_endings_may_be_written_in_any_case(tmp_path, name, packed: Callable[[bytes], bytes]):
    (tmp_path / name).write_bytes(packed(LOG))
    assert prepared(tmp_path / name).summary()["interactions"] == 3


def test_a_folder_has_its_files_whatever_their_endings(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "Interactions.CSV.gz").write_bytes(gzip.compress(LOG))
    (folder / "ITEMS.Tsv").write_bytes(b"item\ttitle\n1\tOne\n2\tTwo\n")
    assert prepared(folder).titles == ["One", "Two"]


@pytest.mark.parametrize(
    ("name", "content", "problem", "hint"),
    [
        ("log.csv.zst", b"\x28\xb5\x2f\xfd....", "the packed data is broken", "`zstd -t` tests it"),
        ("log.csv.zst", zstandard.compress(LOG * 500)[:-3], "the packed data is broken", "`zstd -t` tests it"),
        ("log.zip", zipped(LOG, "a.csv", "b.csv"), "an archive of 2 files, not of one: a.csv, b.csv", "--source"),
        ("log.csv.zip", zipped(LOG)[:-60], "the packed data is broken", "unzip -t"),
        ("log.csv.zip", zipped(LOG).replace(b"PK\x01\x02", b"PK\x01\x03"), "the packed data is broken", "unzip -t"),
        ("log.csv", bz2.compress(LOG * 500)[:-20], "the packed data is broken", "fetch the file again"),
        ("log.csv.xz", lzma.compress(LOG * 500)[:-20], "the packed data is broken", "fetch the file again; `xz -t`"),
        ("log.csv.bz2", bz2.compress(LOG * 500)[:-20], "the packed data is broken", "; `bzip2 -t` tests it"),
        ("log.csv", b"PAR1 and more", "this is a Parquet file", "name it .parquet"),
        ("log.csv", "user,item\na,é\n".encode("cp1252"), "not UTF-8: byte 0xe9", "-o encoding=cp1252"),
        ("log.csv", LOG.decode().encode("utf-16-le"), "UTF-16 without a byte order mark", "-o encoding=utf-16-le"),
    ],
    # Bytes with the time of packing in them would be another name for each worker.
    ids=[
        "no zstd",
        "half a zstd",
        "two files",
        "half a zip",
        "zip without a directory",
        "half a bzip2",
        "half an xz",
        "half a bzip2 by its name",
        "parquet",
        "cp1252",
        "utf-16",
    ],
)
def test_what_cannot_be_read_is_named_with_what_helps(tmp_path, name, content, problem, hint):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        prepared(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert problem in str(caught.value)
    assert hint in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_an_encoding_that_says_its_name_is_read(tmp_path, encoding, suffix):
    text = "user,item\né,1\n" if suffix == "csv" else '{"user": "é", "item": 1}\n'
    (tmp_path / f"log.{suffix}").write_text(text, encoding=encoding)
    assert prepared(tmp_path / f"log.{suffix}").user_ids == ["é"]


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16-le"])
def test_another_encoding_is_named(tmp_path, encoding):
    (tmp_path / "log.csv").write_text("user,item\né,1\n", encoding=encoding)
    assert prepared(tmp_path / "log.csv", encoding=encoding).user_ids == ["é"]


@pytest.mark.parametrize("encoding", ["klingon", "hex", "ascii"])
def test_an_encoding_that_does_not_fit_is_refused(tmp_path, encoding):
    (tmp_path / "log.csv").write_text("user,item\né,1\n")
    with pytest.raises(InputError, match=r"no encoding is called|not ascii"):
        prepared(tmp_path / "log.csv", encoding=encoding)


# ---------------------------------------------------------------------------------------------- without an end


@pytest.mark.parametrize(
    ("name", "loader"),
    [
        ("log.csv.gz", "table"),
        ("log.csv.bz2", "table"),
        ("log.csv.zst", "table"),
        ("log.csv.zip", "table"),
        ("log.jsonl.gz", "table"),
        ("Software_5.json.gz", "amazon-software"),
        ("Software.csv.gz", "amazon-software"),
        ("ml-100k.zip", "movielens-100k"),
    ],
)
def test_what_unpacks_to_more_than_it_may_is_refused(tmp_path, monkeypatch, name, loader):
    monkeypatch.setenv(LIMIT_VARIABLE, "0.002")
    starts = {"Software_5.json.gz": f"{REVIEW}\n", "Software.csv.gz": "user_id,parent_asin,rating,timestamp\n"}
    content = (starts.get(name, "user,item\n")).encode() + b" " * 5_000_000
    packed = {
        "gz": gzip.compress,
        "bz2": bz2.compress,
        "zst": zstandard.compress,
        "zip": lambda text: zipped(text, "u.data"),
    }
    (tmp_path / name).write_bytes(packed[name.rpartition(".")[2]](content))
    with pytest.raises(InputError, match=r"unpacks to more than 0\.002 GB") as caught:
        prepared(tmp_path / name, loader)
    assert LIMIT_VARIABLE in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)


def test_a_limit_that_is_no_number_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv(LIMIT_VARIABLE, "much")
    (tmp_path / "log.csv.gz").write_bytes(gzip.compress(LOG))
    with pytest.raises(InputError, match=f"{LIMIT_VARIABLE}: 'much' is no number"):
        prepared(tmp_path / "log.csv.gz")


@pytest.mark.slow
def test_a_bomb_is_refused_without_a_setting(tmp_path):
    with gzip.open(tmp_path / "log.csv.gz", "wb", compresslevel=1) as file:
        file.write(b"user,item\n")
        for _ in range(700):
            file.write(b"a,1\n" * (1 << 18))
    with pytest.raises(InputError, match="unpacks to more than"):
        prepared(tmp_path / "log.csv.gz")


# ------------------------------------------------------------------------------------------------------ damage


@pytest.mark.parametrize("place", [60, 200, -200, -30])
def test_a_damaged_archive_of_movielens_is_named(tmp_path, place):
    content = "".join(f"{number}\t{number * 7 % 100}\t5\t{880_000_000 + number * number}\n" for number in range(500))
    packed = bytearray(zipped(content.encode(), "ml-100k/u.data"))
    packed[place] ^= 0xFF
    (tmp_path / "ml-100k.zip").write_bytes(packed)
    with pytest.raises(InputError, match=r"not a readable archive|holds no") as caught:
        prepared(tmp_path / "ml-100k.zip", "movielens-100k")
    assert str(tmp_path / "ml-100k.zip") in str(caught.value)
    assert caught.value.hint


DEEP = "{'asin': " + "[" * 300 + "]" * 300 + "}"


@pytest.mark.parametrize("line", ["[" * 5_000, DEEP, "{[]: 1}", "{'asin': 1_", "-" * 9_000])
def test_a_line_of_2014_that_python_cannot_hold_costs_itself_alone(tmp_path, line):
    (tmp_path / "reviews_Baby_5.json").write_text(f"{REVIEW}\n")
    (tmp_path / "meta_Baby.json").write_text(f"{{'asin': 'B1', 'title': \"Baby's\"}}\n{line}\n")
    dataset = prepared(tmp_path, "amazon-baby")
    assert dataset.titles == ["Baby's"]


@pytest.mark.parametrize("depth", [500, 900, 5_000])
def test_json_may_nest_as_deep_as_it_likes(tmp_path, depth):
    nested = "[" * depth + '"Tea"' + "]" * depth
    (tmp_path / "log.csv").write_text("user,item\na,1\na,2\n")
    lines = ['{"item": 1, "title": ' + nested + "}", '{"item": 2, "title": "Two"}']
    (tmp_path / "i.jsonl").write_text("\n".join(lines))
    dataset = prepared(tmp_path / "log.csv", items="i.jsonl")
    assert dataset.titles == ["Tea" if depth < 1_000 else "1", "Two"]


def test_a_parquet_file_with_turned_bits_is_read_or_named(tmp_path):
    rows = pl.DataFrame({"user": [f"u{n % 50}" for n in range(500)], "item": [n % 37 for n in range(500)]})
    path, draw = tmp_path / "log.parquet", random.Random(5)
    rows.write_parquet(path)
    whole = path.read_bytes()
    named = 0
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(whole) - 400, len(whole))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        with contextlib.suppress(InputError):
            Table("table", TableSettings()).read({"interactions": path})
            continue
        named += 1
    assert 0 < named < 60


def test_a_parquet_file_damaged_behind_its_first_rows_is_named(tmp_path):
    rows = 50_000
    path = tmp_path / "log.parquet"
    frame = pl.DataFrame({"user": [f"u{n}" for n in range(rows)], "item": [f"i{n}" for n in range(rows)]})
    frame.write_parquet(path, row_group_size=2_000)
    damaged = bytearray(path.read_bytes())
    middle = len(damaged) // 2
    damaged[middle : middle + 5_000] = b"\xff" * 5_000
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="cannot be read to its end") as refused:
        Table("table", TableSettings()).read({"interactions": path})
    assert refused.value.location == str(path)
    assert refused.value.hint == "fetch the file again"


# ---------------------------------------------------------------------------------------------------- no files


def test_a_pipe_is_no_source(tmp_path):
    os.mkfifo(tmp_path / "log.csv")
    with pytest.raises(InputError, match="is a pipe or a device") as caught:
        prepared(tmp_path / "log.csv")
    assert "write it to a file first" in str(caught.value)


@pytest.mark.parametrize("name", ["table", "movielens-100k", "amazon-software", "goodreads-poetry", "lightgcn-split"])
def test_a_device_is_no_source(tmp_path, name):
    with pytest.raises(InputError, match="/dev/zero: is a pipe or a device"):
        prepare(DatasetSettings(name=name, source="/dev/zero"), Workspace(tmp_path))


def test_a_folder_is_no_second_file(tmp_path):
    (tmp_path / "log.csv").write_bytes(LOG)
    (tmp_path / "i.csv").mkdir()
    with pytest.raises(InputError, match="is no file, but a folder"):
        prepared(tmp_path / "log.csv", items="i.csv")


def test_a_name_no_file_can_have_is_no_source(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        prepare(DatasetSettings(name="table", source="x" * 5_000), Workspace(tmp_path))
